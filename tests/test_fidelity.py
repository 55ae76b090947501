"""The comparison with measured servers (benchmarks/fidelity), on rows made up for it."""

import json

import pytest

from benchmarks.fidelity.constants import used
from benchmarks.fidelity.report import Judged, tables, write_rows
from benchmarks.fidelity.rows import INFERENCEX, NVIDIA, read_rows
from benchmarks.fidelity.split import DOUBTFUL, FITTED, HELD_OUT, groups, purpose
from benchmarks.fidelity.workload import Prediction, predict, requests, server
from benchmarks.fidelity.written import DEVICES, write

COLUMNS = (
    "silicon_data_source,backend,backend_version,model_path,system,precision,mode,isl,osl,batch_size,tp_size,"
    "attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms"
)
ROWS = """\
source_file=a.csv; silicon_concurrency=4,vllm,,meta-llama/Llama-3.1-70B,h200_sxm,fp8,agg,1024,64,4,4,1,4,1,91,10.0
source_file=b.csv; silicon_concurrency=4,vllm,,meta-llama/Llama-3.1-70B,h200_sxm,fp8,agg,1024,64,4,4,1,4,1,95,9.8
aic-auto-gap-analysis/x.csv,vllm,0.12.0,Qwen/Qwen3-32B,h100_sxm,,agg,1024,64,8,4,,1,1,126,11.8
aic-auto-gap-analysis/x.csv,vllm,0.12.0,nvidia/Llama-3.1-8B-Instruct-FP8,h200_sxm,fp8,agg,1000,64,8,1,,1,1,70,11
source_file=a.csv,vllm,0.19.0,MiniMaxAI/MiniMax-M2.5,b200_sxm,fp8,agg,1024,64,4,4,4,1,16,388,23.6
source_file=a.csv,vllm,0.19.0,MiniMaxAI/MiniMax-M2.5,b200_sxm,fp8,disagg,1024,64,,,,,,388,23.6
source_file=a.csv,sglang,1,MiniMaxAI/MiniMax-M2.5,b200_sxm,fp8,agg,1024,64,4,4,1,4,1,388,23.6
x; dynamo_version=0.8.0,vllm,0.12.0,Qwen/Qwen3-32B,h100_sxm,fp8,agg,4000,1000,144,8,,0,0,953,23.4
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = tmp_path_factory.mktemp("silicon") / "silicon_sample.csv"
    path.write_text(f"{COLUMNS}\n{ROWS}")
    return read_rows(path)


def test_rows_of_one_point_are_one_and_what_cannot_be_simulated_is_counted(found):
    rows, skipped = found
    assert [(row.model.rpartition("/")[2], row.device, row.precision, row.campaign) for row in rows] == [
        ("Llama-3.1-70B", "h200", "fp8", INFERENCEX),
        ("Qwen3-32B", "h100", "bf16", NVIDIA),
        ("Llama-3.1-8B-Instruct-FP8", "h200", "fp8", NVIDIA),
    ]
    assert (rows[0].tpot, rows[0].ttft, rows[0].concurrency, rows[0].tensor_parallel) == (9.9, 93, 4, 4)
    assert sorted(skipped.values()) == [1, 1, 1]
    assert "attention is data parallel" in skipped


def test_what_was_fitted_is_not_held_out(found):
    rows, _ = found
    assert [purpose(row, groups()) for row in rows] == [FITTED, HELD_OUT, DOUBTFUL]


def test_a_server_is_set_up_as_it_was_measured(found):
    (llama, qwen, _), _ = found
    settings = server(llama, "roofline")
    assert (settings.tensor_parallel_size, settings.kv_cache_dtype, settings.quantization) == (4, "fp8", "fp8")
    assert (settings.max_num_seqs, settings.async_scheduling) == (4, True)
    assert not server(qwen, "roofline").async_scheduling
    lengths = [request.prompt_tokens for request in requests(llama)]
    assert len(lengths) == 12
    assert all(819 <= length <= 1024 for length in lengths)


def test_predictions_are_near_the_measurements_and_are_tabulated(found, tmp_path):
    rows, _ = found
    predictions = [predict(row) for row in rows[:2]]
    assert all(abs(prediction.tpot_error) < 0.25 for prediction in predictions)
    judged = [Judged(prediction, purpose(prediction.row, groups())) for prediction in predictions]
    exact = Judged(Prediction(rows[1], rows[1].tpot * 1.5, rows[1].ttft * 0.5, False), HELD_OUT)
    assert "| held out | dense | 1 | 50.0 % | 50 % | +50.0 % | 50.0 % | 50 % | -50.0 % |" in tables([exact])
    assert "| Llama-3.1-70B | H200 | fp8 | fitted | 1 |" in tables(judged)
    write_rows(judged, tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("predicted_tpot,predicted_ttft,tpot_error,ttft_error")


def test_fitted_constants_are_written_where_they_are_read(tmp_path):
    path = tmp_path / "devices.json"
    path.write_bytes(DEVICES.read_bytes())
    write(used(), path)
    assert path.read_text() == DEVICES.read_text()
    found = used().moved(("b200",), ["layer_us", "sharpness.2", "kv_cache.1"], [0.1, 0.1, 0.1])
    write(found, path)
    before, after = (json.loads(file.read_text()) for file in (DEVICES, path))
    was, now = before["b200"].pop("efficiency"), after["b200"].pop("efficiency")
    assert before == after
    assert now["layer_us"] == pytest.approx(was["layer_us"] * 1.105, rel=0.002)
    assert now["sharpness"]["2"] == pytest.approx(1 + (was["sharpness"]["2"] - 1) * 1.105, rel=0.005)
    assert now["kv_cache"]["1"] == 0.97
