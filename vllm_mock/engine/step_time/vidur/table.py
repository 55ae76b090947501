"""StepTable: what vidur's predictor says, as plain numbers, so that a worker needs neither vidur nor numpy."""

import json
import os
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# The predictor rounds up to these: tokens of a step, tokens of a chunk, tokens of a KV cache.
STEP_GRANULARITY = 8
CHUNK_GRANULARITY = 32
CONTEXT_GRANULARITY = 64


@dataclass(slots=True)
class StepTable:
    """Milliseconds per layer, where nothing else is said.

    tokens[i]: all that depends on the tokens of a step, for 8 (i + 1) of them, all-reduces included.
    decode[b][j]: attention of b + 1 decoding sequences with 64 j tokens of context each.
    prefill[j][c]: attention of a chunk of 32 (c + 1) tokens after 64 j others.
    send[i]: milliseconds of handing 8 (i + 1) tokens to the next pipeline stage; empty for one stage.
    layers, stages: of the model.
    """

    layers: int
    stages: int
    tokens: Sequence[float]
    decode: Sequence[Sequence[float]]
    prefill: Sequence[Sequence[float]]
    send: Sequence[float]

    def write(self, path: Path) -> None:
        """Store the table; whoever reads `path` finds all of it or nothing."""
        text = json.dumps(asdict(self))
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(text, encoding="ascii")
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "StepTable":
        """The table stored at `path`; OSError, ValueError or TypeError if it is not there or spoilt."""
        content = json.loads(path.read_text(encoding="ascii"))
        for key in ("tokens", "send"):
            content[key] = array("d", content[key])
        for key in ("decode", "prefill"):
            content[key] = [array("d", row) for row in content[key]]
        return cls(**content)

    @property
    def most_tokens(self) -> int:
        """Tokens of a step up to which the table knows times; beyond they are extrapolated."""
        return STEP_GRANULARITY * len(self.tokens)

    @property
    def most_requests(self) -> int:
        """Decoding sequences up to which it does."""
        return len(self.decode)

    @property
    def most_context(self) -> int:
        """Tokens of context up to which it does."""
        return CONTEXT_GRANULARITY * (len(self.decode[0]) - 1)

    def token_time(self, tokens: int) -> float:
        """Milliseconds per layer that `tokens` of one step take, without attention."""
        return at(self.tokens, -(-tokens // STEP_GRANULARITY) - 1)

    def send_time(self, tokens: int) -> float:
        """Milliseconds to hand them to the next stage."""
        return at(self.send, -(-tokens // STEP_GRANULARITY) - 1) if self.send else 0.0

    def decode_time(self, requests: int, context: int) -> float:
        """Milliseconds per layer of the attention of sequences with `context` tokens of context on average."""
        column = -(-context // CONTEXT_GRANULARITY)
        rows = self.decode
        if requests <= len(rows):
            return at(rows[requests - 1], column)
        half = len(rows) // 2
        last, middle = at(rows[-1], column), at(rows[half - 1], column)
        return last + (last - middle) / (len(rows) - half) * (requests - len(rows))

    def prefill_time(self, tokens: int, before: int) -> float:
        """Milliseconds per layer of the attention of a chunk; beyond the table in proportion to its work."""
        rows = self.prefill
        row, column = -(-before // CONTEXT_GRANULARITY), -(-tokens // CHUNK_GRANULARITY) - 1
        if row < len(rows) and column < len(rows[0]):
            return rows[row][column]
        known_before = min(before, CONTEXT_GRANULARITY * (len(rows) - 1))
        known_tokens = min(tokens, CHUNK_GRANULARITY * len(rows[0]))
        work = tokens * (before + tokens / 2) / (known_tokens * (known_before + known_tokens / 2))
        return self.prefill_time(known_tokens, known_before) * work


def at(values: Sequence[float], index: int) -> float:
    """values[index]; beyond the end, on the line through the end and the middle, which noise moves little."""
    last = len(values) - 1
    if index <= last:
        return values[index]
    half = last // 2
    slope = (values[last] - values[half]) / max(1, last - half)
    return values[last] + max(slope, 0.0) * (index - last)


def steps_up_to(most: int, ratio: float = 1.15) -> list[int]:
    """Sizes from 1 to `most` that grow by a ratio, without repetition."""
    sizes, size = [1], 1.0
    while sizes[-1] < most:
        size = max(size * ratio, size + 1)
        sizes.append(min(int(size), most))
    return sizes
