"""POST /v1/chat/completions/batch: one choice per conversation."""

import time
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.response import Envelope, chat_completion
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.answer import answer_options, final_usage
from vllm_mock.routes.openai.chat import chat_choice
from vllm_mock.routes.openai.prepare import prepare_chat_body, resolve_model
from vllm_mock.routes.openai.runs import collect, start
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def batch() -> Response:
        from vllm_mock.protocol.batch import BatchChatCompletionRequest

        environ = request.environ
        body = headers.read(environ, BatchChatCompletionRequest)
        model = resolve_model(services, body.model)
        chats = [prepare_chat_body(services, environ, chat) for chat in body.chats()]
        scheduling = headers.scheduling(environ, "chatcmpl", chats[0].body)
        prompts, specs = [chat.prompt for chat in chats], [chat.spec for chat in chats]
        runs = start(services, prompts, specs, scheduling, chats[0].parsing)
        created = int(time.time())
        collect(services, runs, headers.connection(environ))
        options = answer_options(services, chats[0].body)
        # vLLM tells no details of a batch's usage.
        options.prompt_tokens_details = False
        choices = [chat_choice(run, chat, options) for run, chat in zip(runs, chats, strict=True)]
        usage = final_usage(runs, options, chat=True)
        usage.reasoning_tokens = None
        envelope = Envelope(scheduling.response_id, created, model, services.fingerprint, usage)
        return json_reply(chat_completion(envelope, chats[0].role, choices))

    blueprint.add_url_rule("/v1/chat/completions/batch", "batch", batch, methods=["POST"])
