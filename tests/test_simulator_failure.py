"""A source of step times that fails: its requests get vLLM's engine error, and the engine lives on."""

import threading

import pytest
import requests
from simulation_support import TinyStepTime
from werkzeug.serving import make_server

from vllm_mock import create_app
from vllm_mock.engine import step_time
from vllm_mock.settings import load

ERROR = {"message": "Internal server error", "type": "InternalServerError", "param": None, "code": 500}


class Faulty(TinyStepTime):
    """Fails at batches of more than `most` sequences, and after `steps` steps."""

    def __init__(self):
        super().__init__(0.02, 0.0)
        self.steps = 1 << 30
        self.answer = None

    def seconds(self, batch):
        self.steps -= 1
        if self.steps < 0:
            if self.answer is not None:
                return self.answer
            raise KeyError("no profile")
        return super().seconds(batch)


@pytest.fixture(scope="module")
def faulty():
    return Faulty()


@pytest.fixture(scope="module")
def url(faulty):
    settings = load(
        ["--tokenizer", "tests/fixtures/char_tokenizer", "--served-model-name", "tiny", "--max-model-len", "256"],
        {"SIMULATION": "a100", "STANDALONE_MODE": "true"},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_time, "step_time", lambda settings: faulty)
        app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()


def chat(url, **fields):
    messages = [{"role": "user", "content": "hi"}]
    return requests.post(f"{url}/v1/chat/completions", json={"model": "tiny", "messages": messages, **fields})


def counted(url, reason):
    page = requests.get(f"{url}/metrics").text
    wanted = f'vllm:request_success_total{{engine="0",finished_reason="{reason}",'
    return next(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(wanted))


@pytest.mark.parametrize("answer", [None, float("nan"), float("inf"), -1.0])
def test_whole_answers_get_a_500_and_the_engine_lives_on(url, faulty, answer, capfd):
    before = counted(url, "error")
    faulty.steps, faulty.answer = 3, answer
    reply = chat(url, max_tokens=20, n=2)
    assert (reply.status_code, reply.json()) == (500, {"error": ERROR})
    assert chat(url, max_tokens=20).status_code == 500
    faulty.steps = 1 << 30
    assert chat(url, max_tokens=20).status_code == 200
    assert counted(url, "error") - before == 3
    assert capfd.readouterr().err.count("the time of a step is unknown") == 1


def test_embeddings_fail_as_well(url, faulty):
    faulty.steps = 0
    reply = requests.post(f"{url}/v1/embeddings", json={"model": "tiny", "input": "hello"})
    assert (reply.status_code, reply.json()) == (500, {"error": ERROR})
    faulty.steps = 1 << 30


STREAMS = [
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hi"}]},
        'data: {"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
        "\n\ndata: [DONE]\n\n",
    ),
    (
        "/v1/completions",
        {"prompt": "hi"},
        'data: {"error": {"message": "Internal server error", "type": "InternalServerError", '
        '"param": null, "code": 500}}\n\ndata: [DONE]\n\n',
    ),
    (
        "/v1/messages",
        {"messages": [{"role": "user", "content": "hi"}]},
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"Internal server error"}}\n\n',
    ),
    ("/v1/responses", {"input": "hi"}, '"message":"Internal server error","type":"InternalServerError"'),
]


@pytest.mark.parametrize(("path", "fields", "end"), STREAMS)
def test_streams_end_with_an_error_and_no_finish(url, faulty, path, fields, end):
    faulty.steps = 5
    limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    reply = requests.post(url + path, json={"model": "tiny", "stream": True, limit: 40, **fields})
    faulty.steps = 1 << 30
    assert reply.status_code == 200
    assert end in reply.text
    assert '"finish_reason":"' not in reply.text
    assert "message_stop" not in reply.text
    if path != "/v1/responses":
        assert reply.text.endswith(end)
    # The tokens of the steps before it were sent, the last of them perhaps not.
    deltas = reply.text.count("delta") if path != "/v1/completions" else reply.text.count('"choices"')
    assert deltas >= 4
