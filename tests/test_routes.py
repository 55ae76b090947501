"""The README's table of routes names what is served and what of vLLM is not; the endpoint scripts ask for all of it."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from server import INSTANT, ROOT, TINY, clean_environment

from vllm_mock import create_app
from vllm_mock.settings import load

README = (ROOT / "README.md").read_text()
# Those of a generating and of a pooling model, in development mode, with LoRA.
VLLM = set((ROOT / "tests/contract/vllm_routes.txt").read_text().split())
EVERYTHING = (
    *(*TINY, *INSTANT, "--enable-scale-out", "--enable-tokenizer-info-endpoint"),
    *("--profiler-config", '{"profiler":"torch","torch_profiler_dir":"/profiles"}'),
)
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield create_app(load(EVERYTHING, clean_environment()))


def named(app: Flask) -> set[str]:
    return {_VARIABLE.sub(r"{\1}", rule.rule) for rule in app.url_map.iter_rules()}


def table() -> list[tuple[str, str]]:
    """(route, what is said of it) of each route in the README's table."""
    section = README.partition("### Every route\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(route, said) for routes, said in rows for route in re.findall("`([^`]+)`", routes)]


def test_the_table_has_each_route_once_and_no_other(app: Flask) -> None:
    told = [route for route, said in table() if not said.startswith("not served")]
    assert len(set(told)) == len(told)
    assert set(told) == named(app)


def test_what_is_not_served_is_not(app: Flask) -> None:
    absent = {route for route, said in table() if said.startswith("not served: ")}
    assert len(absent) > 5
    assert not absent & named(app)


def test_every_route_of_vllm_is_in_the_table() -> None:
    told = dict(table())
    assert set(told) >= VLLM
    for route in VLLM:
        assert told[route].startswith(("as vLLM", "not served")), route
    beyond = {route for route, said in table() if said.startswith(("as AIBrix", "beyond", "as vllm-omni"))}
    assert not beyond & VLLM


def test_the_endpoint_scripts_ask_for_every_route(app: Flask) -> None:
    """By its path, or in the words of OpenAI's SDK."""
    scripts = "".join((ROOT / name).read_text() for name in ("test_openai_endpoints.py", "test_vllm_endpoints.py"))
    by_sdk = {
        "/v1/responses": ".responses\n",
        "/v1/responses/{response_id}": "client.retrieve(response.id)",
        "/v1/responses/{response_id}/cancel": "client.cancel(response.id)",
        "/v1/images/edits": "images.edit(",
        "/v1/audio/speech": "audio.speech",
        "/v1/videos": "client.videos\n",
        "/v1/videos/{video_id}": "client.delete(job.id)",
        "/v1/videos/{video_id}/content": "download_content(job.id)",
        "/v1/videos/{video_id}/remix": "client.remix(job.id",
        "/images/{token}.{format}": "picture = requests.get(",
        "/videos/{token}.mp4": "requests.get(link",
        "/metrics/{path}": "/metrics",
    }
    for route in named(app):
        path = by_sdk.get(route) or re.sub(r"\{\w+\}$", "", route)
        assert path in scripts, route
