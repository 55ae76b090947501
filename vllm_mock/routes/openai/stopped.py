"""Answers that the operator ended: they keep what they have, and their finish reason is abort."""

from typing import TYPE_CHECKING

from vllm_mock.output import parse_output
from vllm_mock.routes.pacing import Render

if TYPE_CHECKING:
    from vllm_mock.routes.openai.runs import Run


def cut_short(run: "Run", placeholder: bool = False) -> None:
    """Take away what was not generated. A `placeholder` token without text stands for the end in a stream."""
    cut = run.handle.cut
    assert cut is not None
    plan = run.plan
    plan.ends_empty = placeholder
    # In place: a stream's renderer holds these lists.
    plan.token_ids[cut:] = plan.token_ids[-1:] if placeholder else []
    plan.deltas[cut:] = [""] if placeholder else []
    if plan.logprobs is not None:
        del plan.logprobs[cut:]
    plan.finish_reason, plan.stop_reason = "abort", None
    if run.parsing is not None:
        run.output = parse_output(run.plan, run.parsing)


def last_chunks(choice: int, run: "Run", render: Render) -> bytes:
    """What is still to be sent of a stopped sequence: tokens that were due, and the chunk that ends it."""
    cut_short(run, placeholder=True)
    chunks = render(choice, run.handle.sent, len(run.plan.token_ids))
    cut_short(run)
    return chunks
