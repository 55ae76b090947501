"""/set_metrics over HTTP: one worker, several, and one that is killed."""

import json
import os
import re
import signal
import subprocess
import threading

import pytest
import requests
from server import CHAR_TOKENIZER, INSTANT, ROOT, TINY, Server, ServerPool, clean_environment
from waiting_support import eventually

SUCCESS = {"status": "success", "message": "Overrides updated"}


def url(server: Server) -> str:
    return server.base_url + "/set_metrics"


def series(server: Server, name: str) -> list[str]:
    return [line for line in requests.get(server.base_url + "/metrics").text.splitlines() if line.startswith(name)]


def test_the_readmes_commands_work_as_pasted(servers: ServerPool) -> None:
    server = servers.get(environ={"POD_NAME": "set-metrics"})
    readme = (ROOT / "README.md").read_text()
    section = readme[readme.index("#### Update Override Metrics") :]
    commands = section[section.index("```bash") + 7 : section.index("```\n", section.index("```bash") + 7)]
    script = re.sub(r"http://localhost:8000", server.base_url, commands)
    done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count('{"status": "success", "message": "Overrides updated"}') == 3
    shown = '{"gpu_cache_usage_perc":75.0,"running":50,"success_total":200,"waiting":"oscillate:0:40:2m"}'
    assert json.loads(shown).items() <= json.loads(re.findall(r"\{[^{}]*oscillate[^{}]*\}", done.stdout)[0]).items()
    assert requests.get(url(server)).json() == {}


def test_the_listing_is_the_readmes(servers: ServerPool) -> None:
    readme = (ROOT / "README.md").read_text()
    listings = re.findall(r"```log\n(# HELP vllm:request_success_total.*?)```", readme, re.DOTALL)
    assert len(listings) == 2
    for replicas, listing in zip(("1", "5"), listings, strict=True):
        page = servers.get(environ={"DEFAULT_REPLICAS": replicas}).get("/metrics").body.decode()
        assert page.startswith(listing)


def test_answers_and_refusals(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "set-metrics"})
    answer = requests.post(url(server), json={"running": 50, "server_load": 7})
    assert (answer.status_code, answer.json()) == (200, SUCCESS)
    assert requests.get(server.base_url + "/load").json() == {"server_load": 7}
    for body in ('{"total": "abc"}', '{"nope": 1}', "[]", "", "{", '{"running": NaN}', '{"running": [{}]}'):
        answer = requests.post(url(server), data=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == 400
        assert error["message"]
    assert requests.get(url(server)).json() == {"running": 50, "server_load": 7}
    assert requests.get(server.base_url + "/metrics").status_code == 200
    assert requests.delete(url(server)).status_code == 200
    assert requests.put(url(server)).status_code == 405
    assert requests.get(server.base_url + "/load").json() == {"server_load": 0}


def test_the_load_report_of_an_answer_is_bent_as_well(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "set-metrics"})
    requests.post(url(server), json={"waiting": 12, "gpu_cache_usage_perc": 0.75})
    body = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    answer = requests.post(
        server.base_url + "/v1/completions", json=body, headers={"endpoint-load-metrics-format": "text"}
    )
    expected = "TEXT named_metrics.num_requests_waiting=12.0, named_metrics.kv_cache_usage_perc=0.75"
    assert answer.headers["endpoint-load-metrics"] == expected
    requests.delete(url(server))


def test_protect_admin_asks_for_the_key(servers: ServerPool) -> None:
    open_server = servers.get(*TINY, *INSTANT, "--api-key", "k1", "k2")
    assert requests.get(url(open_server)).status_code == 200
    guarded = servers.get(*TINY, *INSTANT, "--api-key", "k1", "k2", "--protect-admin")
    assert requests.post(url(guarded), json={"running": 1}).status_code == 401
    assert requests.post(url(guarded), json={}, headers={"Authorization": "Bearer k2"}).status_code == 200
    assert requests.get(guarded.base_url + "/metrics").status_code == 200


def test_metrics_overrides_seed_the_start(servers: ServerPool) -> None:
    zero = {"total": 0, "running": 0, "waiting": 0, "kv_cache_usage_perc": 0}
    server = servers.get(*TINY, *INSTANT, environ={"METRICS_OVERRIDES": json.dumps(zero)})
    names = ("vllm:num_requests_running", "vllm:request_success_total", "vllm:kv_cache_usage_perc")
    first = [series(server, name) for name in names]
    assert [lines[0].rsplit(" ", 1)[1] for lines in first] == ["0.0", "0.0", "0.0"]
    assert [series(server, name) for name in names] == first


@pytest.mark.parametrize("overrides", ['{"nope": 1}', '{"total": "x"}', "[1]", "{"])
def test_bad_metrics_overrides_stop_the_start(overrides: str) -> None:
    command = [os.sys.executable, "app.py", "--tokenizer", CHAR_TOKENIZER, "--port", "0"]
    environ = clean_environment({"METRICS_OVERRIDES": overrides})
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if "METRICS_OVERRIDES" in line]) == 1
    assert "Traceback" not in done.stderr


def test_four_workers_show_all_engines_and_the_same_overrides(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--metrics-mode", "live", "--data-parallel-size", "4")
    eventually(lambda: len(series(server, "vllm:num_requests_running{")) == 4)
    labels = [re.search(r'engine="(\d)"', line)[1] for line in series(server, "vllm:num_requests_running{")]
    assert labels == ["0", "1", "2", "3"]
    requests.post(url(server), json={"running": 8})
    # Each new connection may reach another worker.
    for _ in range(12):
        assert series(server, "vllm:num_requests_running{") == [
            'vllm:num_requests_running{engine="0",model_name="tiny"} 8.0'
        ]

    def set_many(number: int) -> None:
        for value in range(10):
            assert requests.post(url(server), json={f"{KEYS[number]}": value}).status_code == 200

    threads = [threading.Thread(target=set_many, args=(number,)) for number in range(len(KEYS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert requests.get(url(server)).json() == {"running": 8, **dict.fromkeys(KEYS, 9)}

    victim = server.workers()[1]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(set(server.workers()) - {victim}) == 4)
    for _ in range(8):
        assert requests.get(url(server)).json() == {"running": 8, **dict.fromkeys(KEYS, 9)}
    requests.delete(url(server))
    eventually(lambda: len(series(server, "vllm:num_requests_running{")) == 4)


KEYS = ("waiting", "swapped", "success_total", "avg_prompt_throughput")


def test_trtllm_has_its_page_where_aibrix_looks(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"LLM_ENGINE": "trtllm"})
    page = server.get("/prometheus/metrics").body.decode()
    assert 'trtllm_kv_cache_utilization{engine_type="trtllm",model_name="tiny"} 0.0' in page
    assert server.get("/metrics").body.decode().count("trtllm_") == page.count("trtllm_")
    assert servers.get(*TINY, *INSTANT).get("/prometheus/metrics").status == 404


def test_every_family_of_the_page_can_be_set(servers: ServerPool) -> None:
    server = servers.get(*TINY, "--kv-cache-metrics", "--step-time", "roofline", environ={"SIMULATION": "a100"})
    page = server.get("/metrics").body.decode()
    found = re.findall(r"^# TYPE (vllm\S*) (counter|gauge|histogram)$", page, re.M)
    types = {name: kind for name, kind in found if not name.endswith("_created")}
    assert {"vllm:kv_block_lifetime_seconds", "vllm_mock:simulation_info"} <= set(types)
    refused = {}
    for name, kind in types.items():
        reply = server.post("/set_metrics", {name: [2.5] if kind == "histogram" else 2.5})
        if reply.status != 200:
            refused[name] = reply.body
    assert refused == {}
    page = server.get("/metrics").body.decode()
    for name, kind in types.items():
        sample = f"{name}_sum" if kind == "histogram" else name
        [value] = {
            line.rpartition(" ")[2] for line in page.splitlines() if re.match(rf"{re.escape(sample)}[{{ ]", line)
        }
        assert value == "2.5", name
    server.request("DELETE", "/set_metrics")
