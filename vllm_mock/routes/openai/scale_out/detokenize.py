"""Text from token ids that come in several requests: what is incomplete waits in a state that the client keeps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vllm_mock.tokenizer.byte_level import to_bytes

if TYPE_CHECKING:
    from vllm_mock.protocol.scale_out.requests import StreamState
    from vllm_mock.tokenizer import Tokenizer

_BROKEN = "\ufffd"


def next_texts(
    tokenizer: "Tokenizer", state: "StreamState", token_ids: Sequence[int], *, skip_special_tokens: bool
) -> list[str]:
    """The text that each token adds; brings the state up to date.

    A token's text is told when it is complete UTF-8, together with that of the tokens before it.
    """
    tokens = list(state.prev_tokens)
    prefix, read = state.prefix_offset, state.read_offset
    texts = []
    for token_id in token_ids:
        text = ""
        token = tokenizer.token(token_id)
        if token and not (skip_special_tokens and token_id in tokenizer.all_special_ids):
            tokens.append(token)
            known, whole = _text(tokens[prefix:read]), _text(tokens[prefix:])
            if len(whole) > len(known) and not whole.endswith(_BROKEN):
                text = whole[len(known) :]
                prefix, read = read, len(tokens)
        texts.append(text)
    state.prev_tokens = tokens[prefix:]
    state.prefix_offset, state.read_offset = 0, read - prefix
    return texts


def _text(tokens: Sequence[str]) -> str:
    return b"".join(map(to_bytes, tokens)).decode("utf-8", "replace")
