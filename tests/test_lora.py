"""LoRA adapters over HTTP: loading and unloading, slots, metrics, several workers."""

import os
import re
import signal
import subprocess
import threading

import openai
import pytest
import requests
from server import APP, INSTANT, ROOT, TINY, Server, ServerPool, clean_environment, command, free_port
from waiting_support import eventually

from vllm_mock.lora import LoRAAdapters
from vllm_mock.metrics.lora_info import add_lora_info, merge_lora_info
from vllm_mock.metrics.page import Page, parse, to_bytes
from vllm_mock.settings import SettingsError, load
from vllm_mock.shared import SharedStore

ALIAS = "X-Amzn-SageMaker-Adapter-Alias"

SLOW = (*TINY, "--time-to-first-token", "50", "--inter-token-latency", "20", "--metrics-mode", "live")


def post(server: Server, path: str, **document: object) -> requests.Response:
    return requests.post(server.base_url + path, json=document)


def names(server: Server) -> list[str]:
    return [card["id"] for card in requests.get(server.base_url + "/v1/models").json()["data"]]


def complete(server: Server, model: str, tokens: int = 1, prompt: str = "hello") -> requests.Response:
    return post(server, "/v1/completions", model=model, prompt=prompt, max_tokens=tokens, ignore_eos=True)


def adapters_now(server: Server) -> tuple[str, str] | None:
    """(running, waiting) of vllm:lora_requests_info."""
    page = requests.get(server.base_url + "/metrics").text
    found = re.findall(
        r'lora_requests_info\{max_lora="1",running_lora_adapters="(.*)",waiting_lora_adapters="(.*)"}', page
    )
    assert len(found) <= 1
    return found[0] if found else None


def waiting(server: Server, reason: str) -> float:
    page = requests.get(server.base_url + "/metrics").text
    return float(re.search(rf'waiting_by_reason{{.*reason="{reason}"}} (.*)', page)[1])


def test_an_adapter_is_a_model_from_its_loading_to_its_unloading(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "lora"})
    client = server.openai()
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="sql", prompt="a", max_tokens=1)
    loaded = post(server, "/v1/load_lora_adapter", lora_name="sql", lora_path="s3://bucket/sql")
    assert (loaded.status_code, loaded.text) == (200, "Success: LoRA adapter 'sql' added successfully.")
    card = client.models.list().data[-1]
    assert (card.id, card.root, card.parent, card.max_model_len) == ("sql", "s3://bucket/sql", "tiny", None)
    assert client.completions.create(model="sql", prompt="a", max_tokens=1).model == "sql"
    chat = client.chat.completions.create(model="sql", messages=[{"role": "user", "content": "a"}], max_tokens=2)
    assert chat.model == "sql"
    stream = client.completions.create(model="sql", prompt="a", max_tokens=2, stream=True)
    assert {chunk.model for chunk in stream} == {"sql"}
    assert post(server, "/tokenize", model="sql", prompt="abc").json()["count"] == 3
    # The metrics keep the base model's name.
    page = requests.get(server.base_url + "/metrics").text
    assert 'model_name="sql"' not in page
    gone = post(server, "/v1/unload_lora_adapter", lora_name="sql", lora_int_id=None)
    assert (gone.status_code, gone.text) == (200, "Success: LoRA adapter 'sql' removed successfully.")
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="sql", prompt="a", max_tokens=1)


@pytest.mark.parametrize("path", ["/models/nonexistent", "/models/invalid/x"])
def test_a_missing_adapter(servers: ServerPool, path: str) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "lora"})
    answer = post(server, "/v1/load_lora_adapter", lora_name="zz", lora_path=path)
    message = f"Loading lora zz failed: No adapter found for {path}"
    expected = {"message": message, "type": "NotFoundError", "param": None, "code": 404}
    assert (answer.status_code, answer.json()) == (404, {"error": expected})
    assert "zz" not in names(server)


def test_sglangs_and_sagemakers_routes(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "lora"})
    assert post(server, "/load_lora_adapter", lora_name="a", lora_path="/a").status_code == 200
    assert post(server, "/unload_lora_adapter", lora_name="a").status_code == 200
    # Any media type will do, and an alias is what the answer shows.
    raw = b'{"name": "sg", "src": "/models/sg"}'
    added = requests.post(server.base_url + "/adapters", data=raw, headers={ALIAS: "SG"})
    assert (added.status_code, added.text) == (200, "Adapter SG registered")
    assert requests.delete(server.base_url + "/adapters/sg", headers={ALIAS: "SG"}).text == "Adapter SG unregistered"
    added = requests.post(server.base_url + "/adapters?name=sg&src=%2Fmodels%2Fsg")
    assert (added.status_code, added.text) == (200, "Adapter sg registered")
    assert "sg" in names(server)
    assert post(server, "/adapters", name="sg", src="/models/sg").json()["error"]["type"] == "InvalidUserInput"
    removed = requests.delete(server.base_url + "/adapters/sg")
    assert (removed.status_code, removed.text) == (200, "Adapter sg unregistered")
    again = requests.delete(server.base_url + "/adapters/sg")
    assert again.json()["error"]["message"] == "The lora adapter 'sg' cannot be found."
    assert requests.get(server.base_url + "/adapters").status_code == 405


@pytest.mark.parametrize(
    ("query", "body", "errors"),
    [
        ("", b'{"name":"a"}', '[{"type":"missing","loc":["src"],"msg":"Field required","input":{"name":"a"}}]'),
        ("?name=a+b&x=", b"{", '[{"type":"missing","loc":["src"],"msg":"Field required","input":"name=a+b&x="}]'),
        (
            "",
            b'{"name":"","src":"/a"}',
            '[{"type":"value_error","loc":["name"],"msg":"Value error, The parameter name cannot be an empty string",'
            '"input":"","ctx":{"error":"The parameter name cannot be an empty string"}}]',
        ),
        (
            "",
            b"1",
            '[{"type":"model_type","loc":[],"msg":"Input should be a valid dictionary or instance of '
            'SageMakerRegisterLoRAAdapterRequest","input":1,"ctx":{"class_name":"SageMakerRegisterLoRAAdapterRequest"}}]',
        ),
        ("", b"\xff", None),
    ],
)
def test_what_sagemakers_route_refuses(servers: ServerPool, query: str, body: bytes, errors: str | None) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "lora"})
    refused = requests.post(server.base_url + "/adapters" + query, data=body)
    if errors is None:
        told = "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
        expected = {"message": told, "type": "BadRequestError", "param": None, "code": 400}
    else:
        expected = {"message": errors, "type": "Bad Request", "param": None, "code": 400}
    assert (refused.status_code, refused.json()) == (400, {"error": expected})


def test_names_in_paths_and_answers_are_any_text(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "lora"})
    missing = requests.delete(server.base_url + "/adapters/%C3%BC").json()
    assert missing["error"]["message"] == "The lora adapter 'ü' cannot be found."
    redirected = requests.delete(server.base_url + "/adapters/%C3%BC/?a=b", allow_redirects=False)
    assert (redirected.status_code, redirected.headers["location"]) == (307, f"{server.base_url}/adapters/%C3%BC?a=b")
    broken = post(server, "/v1/load_lora_adapter", lora_name="\ud800", lora_path="/a").json()
    told = "'utf-8' codec can't encode character '\\ud800' in position 23: surrogates not allowed"
    assert broken == {"error": {"message": told, "type": "BadRequestError", "param": None, "code": 400}}
    huge = post(server, "/v1/unload_lora_adapter", lora_name="nope", lora_int_id=1 << 70)
    assert huge.json()["error"]["message"] == "The lora adapter 'nope' cannot be found."


def test_adapters_wait_for_a_slot_and_hold_up_nobody_else(servers: ServerPool) -> None:
    server = servers.get(*SLOW, "--enable-lora", "--lora-modules", "a=/a", "b=/b")
    assert adapters_now(server) == ("", "")
    done: list[str] = []

    def run(model: str, tokens: int, prompt: str) -> threading.Thread:
        def work() -> None:
            assert complete(server, model, tokens, prompt).status_code == 200
            done.append(prompt)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    threads = [run("a", 50, "a1")]
    eventually(lambda: adapters_now(server) == ("a", ""))
    threads.append(run("b", 2, "b1"))
    eventually(lambda: adapters_now(server) == ("a", "b"))
    assert (waiting(server, "deferred"), waiting(server, "capacity")) == (1.0, 0.0)
    # Neither the base model nor the adapter that has the slot waits behind it.
    threads += [run("tiny", 2, "base"), run("a", 2, "a2")]
    eventually(lambda: {"base", "a2"} <= set(done))
    assert "b1" not in done
    for thread in threads:
        thread.join()
    assert done[-2:] == ["a1", "b1"]
    assert adapters_now(server) == ("", "")


def test_new_weights_have_a_cache_of_their_own(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--enable-prompt-tokens-details", "--lora-modules", "a=/a", "b=/b")

    def cached_after_loading(path: str) -> int:
        loaded = post(server, "/v1/load_lora_adapter", lora_name="c", lora_path=path, load_inplace=True)
        assert loaded.status_code == 200
        usage = complete(server, "c", prompt="y" * 64).json()["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    assert [cached_after_loading(path) for path in ("/1", "/1", "/2", "/1")] == [0, 48, 0, 48]


def test_each_adapter_has_a_prefix_cache_of_its_own(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--enable-prompt-tokens-details", "--lora-modules", "a=/a", "b=/b")
    prompt = "x" * 64

    def cached(model: str) -> int:
        return complete(server, model, prompt=prompt).json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert [cached("tiny"), cached("a"), cached("b")] == [0, 0, 0]
    assert [cached("tiny"), cached("a"), cached("b")] == [48, 48, 48]


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (["tiny=/a"], "The lora adapter 'tiny' conflicts with a served base model."),
        (["a=/a", "a=/b"], "The lora adapter 'a' has already been loaded."),
        (["a=/nonexistent"], "Loading lora a failed: No adapter found for /nonexistent"),
        (["a="], "Both 'lora_name' and 'lora_path' must be provided."),
    ],
)
def test_modules_that_cannot_be_loaded(modules: list[str], told: str) -> None:
    with pytest.raises(SettingsError, match=f"^--lora-modules: {told}"):
        LoRAAdapters(load([*TINY, "--lora-modules", *modules], {}), SharedStore())


def test_a_bad_module_stops_the_start() -> None:
    line, variables = command(APP, (*TINY, "--lora-modules", "tiny=/a"), free_port())
    ended = subprocess.run(line, cwd=ROOT, env=clean_environment(variables), capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "error: --lora-modules: The lora adapter 'tiny' conflicts" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_base_model_that_is_not_served_is_no_parent() -> None:
    module = '{"name": "%s", "path": "/p", "base_model_name": "%s"}'
    modules = [module % ("a", "alias2"), module % ("b", "llama")]
    adapters = LoRAAdapters(load([*TINY, "--lora-modules", *modules], {}), SharedStore()).all()
    assert [(adapter.id, adapter.base_model) for adapter in adapters.values()] == [(1, "alias2"), (2, None)]


def test_odd_names_in_the_metrics_of_two_workers() -> None:
    name = 'q"\\n\n\u2028'
    page: Page = {}
    add_lora_info(page, 1, [name], [])
    merged: Page = {}
    merge_lora_info(merged, [parse(to_bytes(page).decode())] * 2)
    assert merged["vllm:lora_requests_info"][-1].rsplit(" ", 1)[0] == (
        'vllm:lora_requests_info{max_lora="1",running_lora_adapters="q\\"\\\\n\\n\u2028",waiting_lora_adapters=""}'
    )


def test_all_workers_know_an_adapter_and_a_new_one_learns_it(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--data-parallel-size", "2")
    assert post(server, "/v1/load_lora_adapter", lora_name="sql", lora_path="/sql").status_code == 200
    assert {tuple(names(server)) for _ in range(12)} == {("tiny", "alias2", "sql")}
    children = server.workers()
    for child in children:
        os.kill(child, signal.SIGKILL)
    eventually(lambda: len(set(server.workers()) - set(children)) == 2)
    assert {complete(server, "sql").json()["model"] for _ in range(6)} == {"sql"}
