"""The offline twin: python -m vllm_mock.simulate TRACE."""

import csv
import json
import subprocess
import sys
from itertools import pairwise

import pytest
from server import ROOT, clean_environment
from simulation_support import TinyStepTime, make_settings

from vllm_mock.simulate import Sample, TraceError, TraceRequest, read_trace, simulate
from vllm_mock.simulate.summary import spread, summary
from vllm_mock.simulate.timeline import Timeline

LINES = [
    {"arrival": 0.5, "prompt_tokens": 40, "output_tokens": 5, "prefix_id": "s", "prefix_tokens": 32, "id": "b"},
    {"arrival": 0, "prompt_tokens": 40, "output_tokens": 5, "prefix_id": "s", "prefix_tokens": 32, "id": "a"},
    {"arrival": 0.5, "prompt_tokens": 100_000, "output_tokens": 5, "id": "too long"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, LINES)) + "\n\n")
    return folder


def run(*arguments, environ=None, code=0, start=("-m", "vllm_mock.simulate")):
    done = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=ROOT,
        env=clean_environment({"SIMULATION": "a100"} if environ is None else environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_trace_becomes_results_a_summary_and_a_picture(folder):
    done = run(folder / "t.jsonl", "--model", "meta-llama/Llama-2-7b-hf", "--max-model-len", "4096")
    results = folder / "t.simulated"
    rows = [json.loads(line) for line in (results / "requests.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "b", "too long"]
    first, second, refused = rows
    assert first["cached_tokens"] == 0
    assert second["cached_tokens"] == 32
    assert 0.005 < second["ttft_seconds"] < first["ttft_seconds"] < 0.1
    assert len(first["itl_seconds"]) == 4
    assert first["e2e_seconds"] == pytest.approx(first["ttft_seconds"] + sum(first["itl_seconds"]))
    assert refused["refused"] == "the request has 100005 tokens, but the model only 4096"
    assert refused["ttft_seconds"] is None
    found = json.loads((results / "summary.json").read_text())
    assert (found["requests"], found["refused"], found["output_tokens"], found["cached_tokens"]) == (3, 1, 10, 32)
    assert found["device"] == "a100"
    assert "2 of 3 requests" in done.stdout
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert "matplotlib is not installed" in done.stderr
    else:
        assert (results / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_it_does_without_matplotlib_and_writes_tables(folder):
    (folder / "none" / "matplotlib").mkdir(parents=True)
    (folder / "none" / "matplotlib" / "__init__.py").write_text("raise ImportError('not here')")
    environ = {"SIMULATION": "a100", "PYTHONPATH": str(folder / "none")}
    output = folder / "out"
    flags = ("--csv", "--output", output, "--concurrency", "1", "--num-gpu-blocks", "600")
    done = run(folder / "t.jsonl", *flags, environ=environ, start=("simulator.py",))
    assert done.stderr.count("\n") == 1
    assert "matplotlib is not installed" in done.stderr
    with (output / "requests.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["a", "b", "too long"]
    assert rows[0]["preemptions"] == "0"
    assert not (output / "timeline.png").exists()


@pytest.mark.parametrize(
    ("trace", "environ", "line"),
    [
        ('{"arrival": 0}', None, "line 1: prompt_tokens is missing"),
        ("[1]", None, "line 1: expected a JSON object"),
        ("\n{", None, "line 2: "),
        ('{"arrival": -1, "prompt_tokens": 1, "output_tokens": 1}', None, "arrival must be 0 or more"),
        ('{"arrival": 0, "prompt_tokens": 1, "output_tokens": 1, "x": 1}', None, "unknown key 'x'; known are arrival"),
        ("", {}, "no device to simulate; set SIMULATION"),
        ("", {"SIMULATION": "b52"}, "b52: no such device; known are "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, trace, environ, line):
    (tmp_path / "t.jsonl").write_text(trace)
    done = run(tmp_path / "t.jsonl", environ=environ, code=2)
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_said_in_one_line(tmp_path):
    assert run(tmp_path / "none.jsonl", code=2).stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"prompt_tokens": 0}, "prompt_tokens must be 1 or more"),
        ({"output_tokens": True}, "output_tokens must be an integer"),
        ({"arrival": "0"}, "arrival must be a number"),
        ({"prefix_tokens": 3}, "prefix_tokens must be from 0 to"),
        ({"prefix_tokens": 1}, "prefix_tokens need a prefix_id"),
    ],
)
def test_lines_that_make_no_request(fields, text):
    line = json.dumps({"arrival": 0, "prompt_tokens": 2, "output_tokens": 1, **fields})
    with pytest.raises(TraceError, match=text):
        read_trace([line])


def test_a_limited_number_of_clients_sends_when_an_answer_is_complete():
    requests = [TraceRequest(0.0, 4, 3) for _ in range(4)]
    results = simulate(requests, make_settings(), TinyStepTime(1.0, 0.0), concurrency=2)
    assert [result.arrival for result in results] == [0, 0, 3, 3]
    assert [result.token_times for result in results] == [[1, 2, 3]] * 2 + [[4, 5, 6]] * 2
    assert [result.queue_seconds for result in results] == [0] * 4


def test_results_come_in_the_order_of_the_requests_whatever_their_arrival():
    requests = [TraceRequest(5.0, 4, 1), TraceRequest(1.0, 4, 1)]
    results = simulate(requests, make_settings(), TinyStepTime(1.0, 0.0))
    assert [result.token_times for result in results] == [[6.0], [2.0]]


def test_a_failing_step_time_is_the_callers():
    class Broken(TinyStepTime):
        def seconds(self, batch):
            raise KeyError("no profile")

    with pytest.raises(KeyError):
        simulate([TraceRequest(0.0, 4, 1)], make_settings(), Broken())


def test_a_timeline_keeps_an_even_choice():
    timeline = Timeline(most=100)
    for number in range(1000):
        timeline.take(Sample(float(number), number % 7, 0, 0.5, 2))
    assert (timeline.steps, timeline.tokens, timeline.most_running, timeline.highest_kv_usage) == (1000, 2000, 6, 0.5)
    times = [point.at for point in timeline.points]
    assert 50 <= len(times) <= 100
    assert {later - earlier for earlier, later in pairwise(times)} == {16.0}


def test_percentiles():
    assert spread([]) is None
    assert spread(range(1, 101)) == {"mean": 50.5, "p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert spread([3.0]) == {"mean": 3.0, "p50": 3.0, "p90": 3.0, "p99": 3.0, "max": 3.0}


def test_the_summary_of_nothing():
    found = summary([], Timeline())
    assert (found["requests"], found["ttft_seconds"], found["output_tokens_per_second"]) == (0, None, None)
