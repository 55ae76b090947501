"""Log probabilities as JSON text, in the shapes of chat and of completions."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from vllm_mock.protocol.json_text import compact, quote

# vLLM never sends less than this, as JSON has no minus infinity.
LOWEST = -9999.0


class TokenEntry(Protocol):
    """What is known of one token: its text, its log probability, and the likeliest tokens in its place."""

    token_id: int
    token: str
    logprob: float
    top: list[tuple[int, float]]
    top_tokens: list[str]

    def ranked(self) -> Iterable[tuple[int, str, float, int]]: ...


def number(logprob: float) -> str:
    """A log probability as JSON text."""
    return repr(max(logprob, LOWEST))


def _name(token_id: int, token: str, as_ids: bool) -> str:
    return f"token_id:{token_id}" if as_ids else token


def _byte_list(text: str) -> str:
    return compact(list(text.encode("utf-8", "replace")))


def chat_logprobs(entries: Sequence[TokenEntry], top: int, as_ids: bool) -> str:
    """`logprobs` of a chat choice or chunk; `top` is the number of alternatives listed per token (-1: all)."""
    return f'{{"content":[{",".join(_chat_entry(entry, top, as_ids) for entry in entries)}]}}'


def _chat_entry(entry: TokenEntry, top: int, as_ids: bool) -> str:
    count = len(entry.top) if top < 0 else top
    listed = []
    for (token_id, logprob), token in list(zip(entry.top, entry.top_tokens, strict=True))[:count]:
        name = _name(token_id, token, as_ids)
        listed.append(f'{{"token":{quote(name)},"logprob":{number(logprob)},"bytes":{_byte_list(name)}}}')
    name = _name(entry.token_id, entry.token, as_ids)
    return (
        f'{{"token":{quote(name)},"logprob":{number(entry.logprob)},"bytes":{_byte_list(entry.token)},'
        f'"top_logprobs":[{",".join(listed)}]}}'
    )


class CompletionLogprobs:
    """Collects `logprobs` of one completion choice; offsets go on from chunk to chunk of a stream."""

    def __init__(self, as_ids: bool) -> None:
        self._as_ids = as_ids
        self._offset = 0

    def render(self, entries: Sequence[TokenEntry]) -> str:
        """The four parallel lists for these tokens, the next ones of the choice."""
        return self._lists(
            [(_name(e.token_id, e.token, self._as_ids), number(e.logprob), self._top(e)) for e in entries]
        )

    def render_with_prompt(self, first_token_id: int, first_token: str, entries: Sequence[TokenEntry]) -> str:
        """As render(), with the first prompt token in front, of which nothing can be said."""
        rows = [(_name(first_token_id, first_token, self._as_ids), "null", "null")]
        rows += [(_name(e.token_id, e.token, self._as_ids), number(e.logprob), self._top(e)) for e in entries]
        return self._lists(rows)

    def _top(self, entry: TokenEntry) -> str:
        named = {
            _name(token_id, token, self._as_ids): max(logprob, LOWEST)
            for (token_id, logprob), token in reversed(list(zip(entry.top, entry.top_tokens, strict=True)))
        }
        return compact(dict(reversed(named.items())))

    def _lists(self, rows: list[tuple[str, str, str]]) -> str:
        offsets = []
        for name, _, _ in rows:
            offsets.append(self._offset)
            self._offset += len(name)
        return (
            f'{{"text_offset":{compact(offsets)},"token_logprobs":[{",".join(row[1] for row in rows)}],'
            f'"tokens":{compact([row[0] for row in rows])},"top_logprobs":[{",".join(row[2] for row in rows)}]}}'
        )


def prompt_logprobs(entries: Sequence[TokenEntry | None]) -> str:
    """`prompt_logprobs`: a map from token id to log probability, rank and text for every token but the first."""
    return f"[{','.join('null' if entry is None else _prompt_entry(entry) for entry in entries)}]"


def _prompt_entry(entry: TokenEntry) -> str:
    listed = {
        token_id: f'{{"logprob":{number(logprob)},"rank":{rank},"decoded_token":{quote(token)}}}'
        for token_id, token, logprob, rank in entry.ranked()
    }
    return "{" + ",".join(f'"{token_id}":{text}' for token_id, text in listed.items()) + "}"
