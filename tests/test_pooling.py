"""Embeddings, scores, ranks, classes and pooled states against the real server."""

import base64
import json
import math
import struct
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import JSON_HEADERS, Reply
from server import INSTANT, TINY, Server, ServerPool

CAT = "The cat sat on the mat."
CAT_TOO = "A cat sat on a mat"
PHYSICS = "Quantum field theory explains particles"


def vectors(server: Server, given: Any, **fields: Any) -> list[list[float]]:
    reply = server.post("/v1/embeddings", {"input": given, **fields})
    assert reply.status == 200, reply.body
    return [entry["embedding"] for entry in reply.json()["data"]]


def length(vector: list[float]) -> float:
    return math.sqrt(math.fsum(number * number for number in vector))


def cosine(one: list[float], other: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / length(one) / length(other)


def refused(reply: Reply) -> str:
    assert reply.status == 400, reply.body
    return reply.json()["error"]["message"]


# ---- What the vectors mean


@pytest.mark.parametrize("dimensions", [None, 1536, 3072, 256])
def test_texts_that_share_words_are_closer(server: Server, dimensions: int | None) -> None:
    fields = {} if dimensions is None else {"dimensions": dimensions}
    cat, cat_too, physics = vectors(server, [CAT, CAT_TOO, PHYSICS], **fields)
    assert len(cat) == (dimensions or 1536)
    assert all(length(vector) == pytest.approx(1, abs=1e-6) for vector in (cat, cat_too, physics))
    assert all(type(number) is float for number in cat + cat_too + physics)
    assert cosine(cat, cat_too) > 0.4
    assert cosine(cat, cat_too) - 0.2 > max(cosine(cat, physics), cosine(cat_too, physics))


def test_words_of_one_stem_and_other_scripts_count(server: Server) -> None:
    run, running, swim, learning, what_is_learning = vectors(
        server, ["runner", "running", "swimmer", "机器学习很有趣", "机器学习是什么"]
    )
    assert cosine(run, running) > cosine(run, swim) + 0.05
    assert cosine(learning, what_is_learning) > cosine(learning, run) + 0.3


def test_equal_texts_are_equal_and_others_are_not(server: Server, servers: ServerPool) -> None:
    one, other, order, case = vectors(server, [CAT, CAT, "mat the on sat cat The.", CAT.upper()])
    assert one == other
    assert 0.9 < cosine(one, order) < 0.9999
    assert 0.9 < cosine(one, case) < 0.9999
    assert vectors(servers.get(*INSTANT, "--seed", "5"), CAT) == [one]


def test_fewer_dimensions_are_the_first_ones_renormalised(server: Server) -> None:
    ((whole,), (short,)) = vectors(server, CAT), vectors(server, CAT, dimensions=100)
    scale = length(whole[:100])
    assert short == pytest.approx([number / scale for number in whole[:100]], abs=1e-7)


def test_token_ids_mean_the_text_they_stand_for(server: Server) -> None:
    ids = server.post("/tokenize", {"prompt": CAT, "add_special_tokens": False}).json()["tokens"]
    assert vectors(server, ids) == vectors(server, [ids]) == vectors(server, CAT)
    both = server.post("/v1/embeddings", {"input": [ids, ids]}).json()
    assert both["usage"]["prompt_tokens"] == 2 * len(ids)


def test_without_activation_vectors_have_other_lengths(server: Server) -> None:
    (raw,), (unit,) = vectors(server, CAT, use_activation=False), vectors(server, CAT)
    assert length(raw) > 1.5
    assert cosine(raw, unit) == pytest.approx(1)


# ---- The forms of vectors


def test_forms_hold_the_same_numbers(tiny: Server) -> None:
    floats = array("f", vectors(tiny, "hello")[0])
    assert tiny.post("/v1/embeddings", {"input": "hello"}).body.count(b",") > 1536
    (encoded,) = vectors(tiny, "hello", encoding_format="base64")
    assert array("f", base64.b64decode(encoded)) == floats
    raw = tiny.post("/v1/embeddings", {"input": "hello", "encoding_format": "bytes_only"})
    assert raw.header("content-type") == "application/octet-stream"
    assert raw.header("metadata") is None
    assert raw.body == floats.tobytes()


@pytest.mark.parametrize(
    ("dtype", "size", "tolerance"),
    [("float32", 4, 0), ("float16", 2, 1e-3), ("bfloat16", 2, 1e-2), ("fp8_e4m3", 1, 0.1), ("fp8_e5m2", 1, 0.2)],
)
def test_number_formats(tiny: Server, dtype: str, size: int, tolerance: float) -> None:
    body = {"input": ["hello", "you"], "encoding_format": "bytes", "embed_dtype": dtype, "endianness": "big"}
    reply = tiny.post("/v1/embeddings", body)
    metadata = json.loads(reply.header("metadata") or "")
    assert metadata["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert metadata["data"][1] == {
        **{"index": 1, "embed_dtype": dtype, "endianness": "big", "start": 1536 * size, "end": 2 * 1536 * size},
        "shape": [1536],
    }
    assert len(reply.body) == 2 * 1536 * size
    expected = vectors(tiny, "you")[0]
    for number, wanted in zip(decoded(dtype, reply.body[1536 * size :]), expected, strict=True):
        assert number == pytest.approx(wanted, rel=tolerance, abs=2e-3 if size == 1 else 1e-9)


def decoded(dtype: str, raw: bytes) -> list[float]:
    """Big-endian numbers."""
    if dtype.startswith("fp8"):
        return [small(code, 4 if dtype == "fp8_e4m3" else 5) for code in raw]
    if dtype == "bfloat16":
        padded = b"".join(raw[start : start + 2] + b"\0\0" for start in range(0, len(raw), 2))
        return list(struct.unpack(f">{len(raw) // 2}f", padded))
    letter, size = ("e", 2) if dtype == "float16" else ("f", 4)
    return list(struct.unpack(f">{len(raw) // size}{letter}", raw))


def small(code: int, exponent_bits: int) -> float:
    """A number of one byte: sign, exponent, mantissa."""
    mantissa_bits, bias = 7 - exponent_bits, 2 ** (exponent_bits - 1) - 1
    exponent, mantissa = (code & 0x7F) >> mantissa_bits, code & (2**mantissa_bits - 1)
    size = (bool(exponent) + mantissa / 2**mantissa_bits) * 2.0 ** (max(exponent, 1) - bias)
    return -size if code & 0x80 else size


def test_the_openai_sdk(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="llama2-7b", input=[CAT, CAT_TOO])  # base64 on the wire
    assert [entry.index for entry in answer.data] == [0, 1]
    assert (answer.object, answer.data[0].object, answer.model) == ("list", "embedding", "llama2-7b")
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 10
    floats = client.embeddings.create(model="llama2-7b", input=CAT, encoding_format="float", dimensions=64)
    assert len(floats.data[0].embedding) == 64
    assert cosine(floats.data[0].embedding, answer.data[0].embedding[:64]) == pytest.approx(1)
    with pytest.raises(openai.BadRequestError, match="dimensions in range"):
        client.embeddings.create(model="llama2-7b", input=CAT, dimensions=4000)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="nope", input=CAT)


def test_2048_inputs_do_not_hold_up_others(server: Server) -> None:
    texts = [f"document {number} of the collection about topic {number % 50}" for number in range(2048)]
    probes: list[float] = []
    done = threading.Event()

    def probe() -> None:
        while not done.is_set():
            started = time.monotonic()
            assert server.get("/health").status == 200
            probes.append(time.monotonic() - started)

    prober = threading.Thread(target=probe)
    prober.start()
    started = time.monotonic()
    answer = server.request("POST", "/v1/embeddings", {"input": texts, "encoding_format": "base64"}, timeout=120).json()
    whole = time.monotonic() - started
    done.set()
    prober.join()
    assert sorted(probes)[len(probes) // 2] < whole / 20
    assert [entry["index"] for entry in answer["data"]] == list(range(2048))
    assert len({entry["embedding"] for entry in answer["data"]}) == 2048


# ---- Prompts


def test_truncation(tiny: Server) -> None:
    def usage(**fields: Any) -> int:
        return tiny.post("/v1/embeddings", fields).json()["usage"]["prompt_tokens"]

    long = "ab" * 150
    assert usage(input=long, truncate_prompt_tokens=5) == 5
    assert usage(input=long, truncate_prompt_tokens=-1) == 256
    assert usage(input="a" * 256) == 256  # no token need be left for an answer
    (left,) = vectors(tiny, "cat dog", truncate_prompt_tokens=3, truncation_side="left")
    (right,) = vectors(tiny, "cat dog", truncate_prompt_tokens=3, truncation_side="right")
    assert [left, right] == vectors(tiny, ["dog", "cat"])
    assert vectors(tiny, "cat dog", truncate_prompt_tokens=3) == [right]  # unlike for generation
    assert "at least 257 input tokens" in refused(tiny.post("/v1/embeddings", {"input": "a" * 257}))


def test_conversations(tiny: Server) -> None:
    hi, hello = [{"role": "user", "content": "hi"}], [{"role": "user", "content": "hello"}]
    one = tiny.post("/v1/embeddings", {"messages": hi}).json()
    chat = tiny.post("/v1/chat/completions", {"messages": hi, "max_tokens": 1, "add_generation_prompt": False}).json()
    assert one["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"]
    for fields in ({"messages": [hi, hello]}, {"input": [hi, hello]}):
        both = tiny.post("/v1/embeddings", fields).json()
        assert len(both["data"]) == 2
        assert both["data"][0]["embedding"] == one["data"][0]["embedding"]
    assert tiny.post("/v1/embeddings", {"input": hi}).json()["data"] == one["data"]


def test_padding_fills_the_context(tiny: Server) -> None:
    answer = tiny.post("/v1/embeddings", {"input": ["hi", "you"], "padding": "max_length"}).json()
    assert answer["usage"]["prompt_tokens"] == 2 * 256
    assert [entry["embedding"] for entry in answer["data"]] == vectors(tiny, ["hi", "you"])


def test_an_adapter_answers_under_its_name(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--enable-lora", "--lora-modules", "tuned=/adapters/tuned")
    assert server.post("/v1/embeddings", {"model": "tuned", "input": "a"}).json()["model"] == "tuned"
    assert server.post("/v1/rerank", {"model": "tuned", "query": "a", "documents": ["b"]}).json()["model"] == "tuned"
    assert server.post("/v1/embeddings", {"model": "other", "input": "a"}).status == 404


# ---- Scores, ranks, classes, pooled states


def test_scores_are_cosines(server: Server) -> None:
    cat, cat_too, physics = vectors(server, [CAT, CAT_TOO, PHYSICS])
    answer = server.post("/score", {"text_1": CAT, "text_2": [CAT_TOO, PHYSICS, CAT]}).json()
    scores = [entry["score"] for entry in answer["data"]]
    assert scores == pytest.approx([cosine(cat, cat_too), cosine(cat, physics), 1], abs=1e-6)
    pairs = server.post("/v1/score", {"queries": [CAT, PHYSICS], "items": [CAT_TOO, CAT]}).json()
    assert [entry["score"] for entry in pairs["data"]] == pytest.approx([scores[0], scores[1]], abs=1e-6)
    assert pairs["usage"]["prompt_tokens"] == pairs["usage"]["total_tokens"]


def test_documents_are_cut_between_characters(tiny: Server) -> None:
    body = {"query": "a", "documents": ["aaab", "aß"], "max_tokens_per_doc": 2}
    answer = tiny.post("/rerank", body).json()
    assert answer["usage"]["prompt_tokens"] == 1 + 2 + 1  # ß has two tokens
    assert answer["results"][0] == {
        "index": 1,
        "document": {"text": "aß", "multi_modal": None},
        "relevance_score": pytest.approx(1),
    }


def test_rerank(server: Server) -> None:
    documents = [PHYSICS, {"content": [{"type": "text", "text": CAT}]}, CAT_TOO]
    answer = server.post("/v1/rerank", {"query": CAT, "documents": documents}).json()
    assert [result["index"] for result in answer["results"]] == [1, 2, 0]
    assert answer["results"][0]["relevance_score"] == pytest.approx(1)
    assert answer["results"][0]["document"] == {"text": None, "multi_modal": documents[1]["content"]}  # type: ignore[index]
    assert answer["results"][1]["document"] == {"text": CAT_TOO, "multi_modal": None}
    best = server.post("/v2/rerank", {"query": CAT, "documents": documents, "top_n": 1}).json()
    assert best["results"] == answer["results"][:1]
    assert best["usage"] == answer["usage"]


def test_classes(server: Server) -> None:
    answer = server.post("/classify", {"input": [CAT, CAT, PHYSICS]}).json()
    first, second, _ = answer["data"]
    assert first == {**second, "index": 0}
    assert first["num_classes"] == len(first["probs"]) == 2
    assert math.fsum(first["probs"]) == pytest.approx(1)
    assert first["label"] == f"LABEL_{first['probs'].index(max(first['probs']))}"
    raw = server.post("/v1/classify", {"input": CAT, "use_activation": False}).json()["data"][0]["probs"]
    odds = math.exp(raw[0] - raw[1])
    assert first["probs"][0] == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_pooled_states(tiny: Server) -> None:
    def pooled(**fields: Any) -> Any:
        return tiny.post("/pooling", {"input": "abca", **fields}).json()["data"][0]["data"]

    assert pooled() == pytest.approx(vectors(tiny, "abca")[0], abs=1e-8)
    tokens = pooled(task="token_embed")
    assert [len(row) for row in tokens] == [1536] * 4
    assert tokens[0] == tokens[3] != tokens[1]
    assert all(length(row) == pytest.approx(1, abs=1e-6) for row in tokens)
    assert [len(row) for row in pooled(task="token_classify")] == [2] * 4
    assert pooled(task="classify") == tiny.post("/classify", {"input": "abca"}).json()["data"][0]["probs"]
    body = {"input": "abc", "task": "token_embed", "encoding_format": "bytes", "embed_dtype": "float16"}
    reply = tiny.post("/pooling", body)
    assert json.loads(reply.header("metadata") or "")["data"][0]["shape"] == [3, 1536]
    assert len(reply.body) == 3 * 1536 * 2


def test_cohere(tiny: Server) -> None:
    body = {"texts": ["hi", "you"], "embedding_types": ["float", "base64", "ubinary", "binary"], "output_dimension": 20}
    answer = tiny.post("/v2/embed", body).json()
    assert list(answer["embeddings"]) == ["float", "binary", "ubinary", "base64"]
    for number, vector in enumerate(answer["embeddings"]["float"]):
        assert vector == pytest.approx(vectors(tiny, body["texts"][number], dimensions=20)[0], abs=1e-8)  # type: ignore[index]
        assert array("f", base64.b64decode(answer["embeddings"]["base64"][number])) == array("f", vector)
        bits = "".join(f"{byte:08b}" for byte in answer["embeddings"]["ubinary"][number])
        assert bits == "".join("01"[one > 0] for one in vector) + "0000"
        assert answer["embeddings"]["binary"][number] == [b - 128 for b in answer["embeddings"]["ubinary"][number]]
    assert answer["meta"]["billed_units"]["input_tokens"] == 5
    mixed = tiny.post("/v2/embed", {"inputs": [{"content": [{"type": "text", "text": "hi"}]}]}).json()
    assert "texts" not in mixed
    assert mixed["id"].startswith("embd-")


# ---- Refusals

# From vLLM 0.33.0, byte by byte. Each line is one request and its answer.
_LINES = (Path(__file__).parent / "contract" / "pooling_refusals.jsonl").read_text().splitlines()
RECORDED = [json.loads(line) for line in _LINES]


@pytest.mark.parametrize("path", sorted({record["path"] for record in RECORDED}))
def test_recorded_refusals(path: str, tiny: Server) -> None:
    records = [record for record in RECORDED if record["path"] == path]
    assert len(records) > 10
    for record in records:
        reply = tiny.request("POST", path, record["body"].encode(), JSON_HEADERS)
        assert (reply.status, reply.body.decode()) == (record["status"], record["answer"]), record["body"]


def test_refusals(tiny: Server) -> None:
    def message(path: str, **fields: Any) -> str:
        return refused(tiny.post(path, fields))

    assert message("/v1/embeddings", input="") == "The decoder prompt cannot be empty"
    assert message("/v1/embeddings", input=[1, 400]) == "Token id 400 is out of vocabulary"
    assert message("/v1/embeddings", input=[1, -3]) == "Token id -3 is out of vocabulary"
    assert (
        message("/pooling", input="hi", dimensions=4) == "dimensions is currently not supported (parameter=dimensions)"
    )
    assert message("/v1/embeddings", input="\ud800").startswith("TextEncodeInput must be")
    assert message("/pooling", data={}).startswith("No IOProcessor plugin installed.")
    assert message("/score", text_1=["a", "b"], text_2="c") == "Input lengths must be either 1:1, 1:N or N:N"
    assert message("/rerank", query="a", documents=[]) == "At least one text_pair element must be given"
    image = {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    assert message("/rerank", query="a", documents=[image]).startswith("MultiModalParam is not supported")
    assert "Exactly one of texts, images, or inputs" in message("/v2/embed", texts=[])
    assert tiny.post("/rerank", {"query": "a", "documents": ["b"], "model": "nope"}).json()["error"]["param"] is None


SCALARS = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = (
    *("input", "messages", "data", "task", "dimensions", "encoding_format", "embed_dtype", "endianness", "padding"),
    *("truncate_prompt_tokens", "truncation_side", "text_1", "text_2", "query", "queries", "documents", "top_n"),
    *("max_tokens_per_doc", "texts", "inputs", "images", "output_dimension", "embedding_types", "truncate"),
    *("max_tokens", "chat_template_kwargs", "priority", "request_id", "use_activation", "kv_transfer_params"),
)
GOOD = {"input": "hi", "query": "a", "documents": ["a", "b"], "text_1": "a", "text_2": ["b"], "texts": ["a"]}
PATHS = ("/v1/embeddings", "/pooling", "/classify", "/score", "/rerank", "/v2/embed")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))
def test_no_body_is_an_internal_error(path: str, fields: dict[str, Any], tiny: Server) -> None:
    reply = tiny.post(path, {**GOOD, **fields})
    assert reply.status in (200, 400)
    if reply.status == 400:
        assert reply.json()["error"]["message"]


# ---- The engine


def test_prompts_pass_the_engine(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--prefill-overhead", "30ms", "--metrics-mode", "live")
    families = (
        *("vllm:request_success_total", "vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
        *("vllm:prefix_cache_hits_total", "vllm:request_prompt_tokens_count", "vllm:request_generation_tokens_sum"),
        *("vllm:request_params_max_tokens_count", "vllm:iteration_tokens_total_sum"),
        *("vllm:time_to_first_token_seconds_count", "vllm:time_to_first_token_seconds_sum"),
    )
    before = [server.gauge(name) for name in families]
    text = "x" * 33
    vectors(server, [text, text])
    grown = [server.gauge(name) - old for name, old in zip(families, before, strict=True)]
    # The second prompt finds its first two blocks in the prefix cache.
    assert grown[:-1] == [2, 66, 0, 32, 2, 0, 0, 34, 2]
    assert grown[-1] >= 0.06


def test_queue_limits_refuse(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--max-num-queued-reqs", "2")
    assert server.post("/v1/embeddings", {"input": ["a"] * 3}).status == 503
    assert server.post("/v1/embeddings", {"input": ["a"] * 2}).status == 200
