"""What `echo` and `logprobs` add to the choices of a text completion."""

from collections.abc import Sequence

from vllm_mock.generation import TokenLogprobs
from vllm_mock.protocol.logprobs import CompletionLogprobs


class CompletionEcho:
    """The prompt in front of a choice, when `echo` asks for it; keeps the text offsets of its logprobs.

    `only_prompt`: echo with max_tokens 0, which shows no output at all. `prompt_entries` holds one entry per
    prompt token, None for the first, when logprobs are wanted too.
    """

    def __init__(
        self,
        text: str,
        *,
        active: bool,
        only_prompt: bool,
        as_ids: bool,
        first_token: tuple[int, str] | None = None,
        prompt_entries: Sequence[TokenLogprobs | None] = (),
    ) -> None:
        self.text = text
        self.active = active
        self.only_prompt = only_prompt
        self._first_token = first_token
        self._prompt_entries = [entry for entry in prompt_entries if entry is not None]
        self._logprobs = CompletionLogprobs(as_ids)

    def logprobs(self, entries: Sequence[TokenLogprobs] | None, with_prompt: bool) -> str:
        """JSON text of `logprobs` for these output tokens, with the prompt's in front if wanted."""
        if entries is None:
            return "null"
        if with_prompt and self._first_token is not None:
            token_id, token = self._first_token
            return self._logprobs.render_with_prompt(token_id, token, [*self._prompt_entries, *entries])
        return self._logprobs.render(entries)
