"""POST /generative_scoring: the probability of the first label token after query and item."""

import math
import time
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.generation import SamplingSpec
from vllm_mock.generation.labels import next_token_logprobs
from vllm_mock.protocol.json_text import quote
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.openai.runs import collect, start
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def generative_scoring() -> Response:
        from vllm_mock.protocol.generative_scoring import GenerativeScoringRequest, check_labels, scored_prompts
        from vllm_mock.protocol.stages import CheckedPrompt

        environ = request.environ
        body = headers.read(environ, GenerativeScoringRequest)
        model = resolve_model(services, body.model)
        check_labels(body, services.limits)
        prompts = scored_prompts(body, services.tokenizer, services.limits)
        scheduling = headers.scheduling(environ, "generative-scoring", body)
        checked = [CheckedPrompt(ids, None, 1) for ids in prompts]
        spec = SamplingSpec(max_tokens=1, model=model)
        runs = start(services, checked, [spec] * len(checked), scheduling)
        created = int(time.time())
        collect(services, runs, headers.connection(environ))
        vocab_size = services.limits.vocab_size
        logprobs = (next_token_logprobs(ids, body.label_token_ids, vocab_size) for ids in prompts)
        scores = [score(of_labels, body.apply_softmax) for of_labels in logprobs]
        entries = (f'{{"index":{index},"object":"score","score":{one!r}}}' for index, one in enumerate(scores))
        usage = Usage(sum(map(len, prompts)), len(prompts))
        return json_reply(
            f'{{"id":{quote(scheduling.response_id)},"object":"list","created":{created},'
            f'"model":{quote(model)},"data":[{",".join(entries)}],"usage":{usage.body()}}}'
        )

    blueprint.add_url_rule("/generative_scoring", "generative_scoring", generative_scoring, methods=["POST"])


def score(logprobs: list[float], apply_softmax: bool) -> float:
    """The probability of the first label: among the labels alone, or among all tokens."""
    first = math.exp(logprobs[0])
    return first / sum(map(math.exp, logprobs)) if apply_softmax else first
