"""Chat templates of requests: whatever they do, they are answered with 400 and nobody else notices."""

import threading
from typing import Any

import pytest
from raw_http import Connection
from server import APP, GTHREAD, INSTANT, TINY, Server, ServerPool

CHAT = "/v1/chat/completions"
TOO_MUCH = "The chat template takes too much time or memory."


@pytest.fixture(params=[APP, GTHREAD])
def trusting(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    return servers.get(*TINY, *INSTANT, "--trust-request-chat-template", runner=request.param)


def ask(server: Server, template: str, **parameters: Any) -> tuple[int, Any]:
    question = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1, "return_token_ids": True}
    reply = server.post(CHAT, {**question, "chat_template": template, **parameters})
    told = reply.json()
    return reply.status, len(told["prompt_token_ids"]) if reply.status == 200 else told["error"]["message"]


def test_a_template_renders_the_conversation(trusting: Server) -> None:
    template = "{{ messages[0].content }}{{ x }}{{ add_generation_prompt }}"
    # A character is a token.
    assert ask(trusting, template, chat_template_kwargs={"x": [1, None]}) == (200, len("hi[1, None]True"))


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ 'a' * 10**10 }}", TOO_MUCH),
        ("{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{{ x }}{% endfor %}", TOO_MUCH),
        ("{{ '%2000000000d' % 1 }}", TOO_MUCH),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "maximum recursion depth exceeded"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "maximum recursion depth exceeded"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "maximum recursion depth exceeded"),
        ("{% include 'pyproject.toml' %}", "no loader for this environment specified"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ raise_exception('no') }}", "no"),
    ],
)
def test_what_a_template_may_not_do(servers: ServerPool, template: str, complaint: str) -> None:
    server = servers.get(*TINY, *INSTANT, "--trust-request-chat-template")
    status, message = ask(server, template)
    assert status == 400
    assert complaint in message


def test_an_endless_loop_holds_up_nobody(trusting: Server) -> None:
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    answers: list[tuple[int, Any]] = []
    worker = threading.Thread(target=lambda: answers.append(ask(trusting, loops)))
    with Connection(trusting.port) as probe:
        worker.start()
        answered = 0
        while worker.is_alive():
            probe.send("GET", "/ping")
            assert probe.read_reply().status == 200
            answered += 1
            worker.join(0.01)
    assert answers == [(400, TOO_MUCH)]
    assert answered > 20
