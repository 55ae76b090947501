"""The chunks of a streamed transcription or translation."""

import time
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.json_text import compact, quote, to_bytes
from vllm_mock.protocol.sse import DONE
from vllm_mock.routes.openai.runs import Run

if TYPE_CHECKING:
    from vllm_mock.protocol.speech_to_text import TranscriptionRequest, TranslationRequest


class TranscriptionStream:
    """Renders the clips of a recording one after the other, although the engine hears them at the same time."""

    def __init__(
        self,
        runs: list[Run],
        form: "TranscriptionRequest | TranslationRequest",
        object_name: str,
        response_id: str,
        model: str,
        prompt_tokens: int,
        force_usage: bool,
    ) -> None:
        self._runs = runs
        self._usage = force_usage or bool(form.stream_include_usage)
        self._continuous = self._usage and bool(form.stream_continuous_usage_stats)
        self._prompt_tokens = prompt_tokens
        self._tokens = 0
        self._clip = 0
        # How many tokens of each clip are known, and how many of them were sent.
        self._due = [0] * len(runs)
        self._sent = [0] * len(runs)
        self._head = (
            f'data: {{"id":{quote(response_id)},"object":"{object_name}","created":{int(time.time())},'
            f'"model":{quote(model)},"choices":['
        )

    def render(self, clip: int, start: int, end: int) -> bytes:
        """The chunks that the tokens start..end-1 of a clip make possible; those of later clips are kept back."""
        self._due[clip] = end
        chunks: list[str] = []
        while self._clip < len(self._runs):
            clip = self._clip
            chunks += [self._chunk(clip, position) for position in range(self._sent[clip], self._due[clip])]
            self._sent[clip] = self._due[clip]
            if self._sent[clip] < len(self._runs[clip].plan.token_ids):
                break
            self._clip += 1
        return to_bytes("".join(chunks))

    def _chunk(self, clip: int, position: int) -> str:
        plan = self._runs[clip].plan
        text = plan.deltas[position]
        if clip and not position:
            text = f" {text}"
        self._tokens += 1
        finish = ""
        if position == len(plan.token_ids) - 1:
            finish = f',"finish_reason":"{plan.finish_reason}","stop_reason":null'
        elif not text:
            return ""
        usage = f',"usage":{self._counts()}' if self._continuous else ""
        return f'{self._head}{{"delta":{{"content":{quote(text)}}}{finish}}}]{usage}}}\n\n'

    def end(self) -> bytes:
        """The usage chunk, if asked for, and the end of the stream."""
        if not self._usage:
            return DONE
        return to_bytes(f'{self._head}],"usage":{self._counts()}}}\n\n') + DONE

    def _counts(self) -> str:
        counts: dict[str, Any] = {
            "prompt_tokens": self._prompt_tokens,
            "total_tokens": self._prompt_tokens + self._tokens,
            "completion_tokens": self._tokens,
        }
        return compact(counts)
