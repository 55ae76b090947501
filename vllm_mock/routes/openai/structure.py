"""What a request asks of the form of its answer, for the generator."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_mock.generation.structured import Structure
    from vllm_mock.settings import Settings


def structure(body: Any, settings: "Settings") -> "Structure | None":
    """The structure of the answer to a request that passed the checks; None for free text.

    vLLM's beam search knows none.
    """
    if body.use_beam_search or (body.response_format is None and body.structured_outputs is None):
        return None
    return _structure(body, settings)


def _structure(body: Any, settings: "Settings") -> "Structure | None":
    # Imported here: only such requests pay for them.
    from vllm_mock.generation.structured import Structure
    from vllm_mock.protocol.structured import constraint

    wanted = constraint(body)
    if wanted is None:
        return None
    config = settings.structured_outputs_config or {}
    whitespace = not config.get("disable_any_whitespace")
    additional = not config.get("disable_additional_properties")
    if wanted.json is not None:
        value = wanted.json if isinstance(wanted.json, str) else json.dumps(wanted.json)
        return Structure("json", value, whitespace, additional)
    if wanted.regex is not None:
        return Structure("regex", wanted.regex)
    if wanted.choice is not None:
        return Structure("choice", json.dumps(wanted.choice))
    if wanted.grammar is not None:
        return Structure("grammar", wanted.grammar, whitespace, additional)
    if wanted.structural_tag is not None:
        return Structure("structural_tag", wanted.structural_tag, whitespace, additional)
    return Structure("json", '{"type": "object"}', whitespace)
