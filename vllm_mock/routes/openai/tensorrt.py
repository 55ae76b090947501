"""The answer to a prefill beyond vLLM's dialect: what the decode server, asked through a router, goes on with."""

import base64
from collections.abc import Sequence
from typing import Any

from vllm_mock.protocol.json_text import compact
from vllm_mock.protocol.pd_contract import OPAQUE, PDContract
from vllm_mock.protocol.response import Choice, Envelope
from vllm_mock.protocol.sse import json_ids
from vllm_mock.routes.openai.runs import Run


def tell_context(
    params: dict[str, Any],
    runs: Sequence[Run],
    envelope: Envelope,
    choices: Sequence[Choice],
    contract: PDContract | None,
    *,
    chat: bool,
) -> None:
    """Adds the asked `disaggregated_params` and the ids of the prompt to an answer.

    TensorRT-LLM has the parameters in each choice, with the tokens of the prefill and its opaque state; AIBrix's router
    looks at the top level first, but its strict `contract` has them in the choices alone.
    """
    if contract is None:
        envelope.further = f',"disaggregated_params":{compact(params)}'
    ids = json_ids(runs[0].prompt.token_ids)
    if chat:
        envelope.prompt_token_ids = ids
    else:
        # vLLM has them in the choices alone.
        envelope.further += f',"prompt_token_ids":{ids}'
    for run, choice in zip(runs, choices, strict=True):
        state = base64.b64encode(run.handle.request.request_id.encode()).decode()
        told = {**params, "first_gen_tokens": run.plan.token_ids, "encoded_opaque_state": state, "draft_tokens": None}
        choice.further = f',"disaggregated_params":{compact(told)}'


def sealed(contract: PDContract | None) -> str:
    """A member of the answer that the router must pass on, with its leading comma, if there is to be one."""
    return f',"opaque":{compact(OPAQUE)}' if contract is not None and contract.seals_answer else ""
