"""A lane: the sequences that are batched together, step after step."""

from vllm_mock.engine.simulated.handle import SimulatedHandle

# How many ends of steps are kept before it is looked which of them are still needed.
_ENDS_KEPT = 4096


class Lane:
    """A batch of sequences. Without pipeline parallelism there is one lane, else one for each stage.

    Its `decoders` get one token in each step, so that a step costs nothing for each of them: what is special to a step
    (a block is full, an output ends) is looked up by the number of the step. `kv_tokens` is the sum of the decoders'
    KV lengths before the next step. `prefilling` are those whose known tokens are not all computed yet, and `planned`
    the chunks (tokens, and those before them) that the next step computes of them, once that is `scheduled`.
    While a step is in flight (`busy`) it ends at `end`, `completing` are those whose prefill it completes (they are
    among the decoders already), and `preempted` those that have lost their blocks and get a token from it all the same.
    """

    __slots__ = (
        "_ends",
        "_first",
        "_trim_at",
        "busy",
        "completing",
        "decoders",
        "ending",
        "filling",
        "kv_tokens",
        "planned",
        "preempted",
        "prefilling",
        "scheduled",
    )

    def __init__(self) -> None:
        self.decoders: dict[SimulatedHandle, None] = {}
        self.prefilling: dict[SimulatedHandle, None] = {}
        self.planned: dict[SimulatedHandle, tuple[int, int]] = {}
        self.completing: list[SimulatedHandle] = []
        self.preempted: dict[SimulatedHandle, None] = {}
        # By step: decoders that need a new block for it, and those that get their last token from it.
        self.filling: dict[int, dict[SimulatedHandle, None]] = {}
        self.ending: dict[int, dict[SimulatedHandle, None]] = {}
        self.kv_tokens = 0
        self.busy = self.scheduled = False
        self._ends: list[float] = []
        self._first = 0
        self._trim_at = _ENDS_KEPT

    @property
    def next_step(self) -> int:
        """The number of the step that is formed next."""
        return self._first + len(self._ends)

    @property
    def end(self) -> float:
        """When the last step that was formed ends."""
        return self._ends[-1]

    @end.setter
    def end(self, end: float) -> None:
        self._ends[-1] = end

    @property
    def gap(self) -> float:
        """From the end of the step before to the end of the last one."""
        return self._ends[-1] - self._ends[-2] if len(self._ends) > 1 else 0.0

    @property
    def last_ones(self) -> dict[SimulatedHandle, None]:
        """Decoders that get their last token from the step in flight."""
        return self.ending.get(self.next_step - 1, {})

    def end_of(self, step: int) -> float | None:
        """When a step ends, None if it was not formed yet."""
        place = step - self._first
        return self._ends[place] if 0 <= place < len(self._ends) else None

    def ends_from(self, step: int) -> list[float]:
        """The ends of the steps from `step` on."""
        return self._ends[step - self._first :]

    def launch(self, end: float) -> None:
        """A step is in flight from now on; all decoders are one token further."""
        if len(self._ends) >= self._trim_at:
            self._trim()
        self._ends.append(end)
        self.kv_tokens += len(self.decoders)
        self.busy = True

    def join(self, handle: SimulatedHandle, step: int, free_tokens: int, tokens_left: int) -> None:
        """Step `step` completes a prefill: the sequence decodes from the next one on.

        Its blocks have room for `free_tokens` more tokens; it gets `tokens_left` more, none if that step ends it.
        """
        self.decoders[handle] = None
        self.kv_tokens += handle.computed
        handle.joined = step
        handle.ends_with = step + tokens_left
        self.ending.setdefault(handle.ends_with, {})[handle] = None
        self.fill(handle, step + 1 + free_tokens)

    def fill(self, handle: SimulatedHandle, step: int) -> None:
        """A decoder needs its next block for `step`, if it is still there then."""
        handle.needs_block_in = step
        if step <= handle.ends_with:
            self.filling.setdefault(step, {})[handle] = None

    def leave(self, handle: SimulatedHandle) -> None:
        """Takes a sequence out, wherever it is; `computed` then says how many of its tokens have KV."""
        if handle in self.decoders:
            del self.decoders[handle]
            handle.computed += self.next_step - 1 - handle.joined
            self.kv_tokens -= handle.computed
            # A step that is far away must not keep those that left long before.
            _forget(self.ending, handle.ends_with, handle)
            _forget(self.filling, handle.needs_block_in, handle)
        else:
            self.prefilling.pop(handle, None)
            self.planned.pop(handle, None)
            self.preempted.pop(handle, None)

    def _trim(self) -> None:
        """Forgets ends of steps that no sequence of this lane looks back to."""
        users = [*self.decoders, *self.preempted]
        needed = min((handle.segment for handle in users if handle.segment >= 0), default=self.next_step)
        # The last one is needed for the gap to the next.
        drop = min(needed - self._first, len(self._ends) - 1)
        if drop > 0:
            self._first += drop
            del self._ends[:drop]
        self._trim_at = 2 * len(self._ends) + _ENDS_KEPT


def _forget(steps: dict[int, dict[SimulatedHandle, None]], step: int, handle: SimulatedHandle) -> None:
    handles = steps.get(step)
    if handles is not None:
        handles.pop(handle, None)
        if not handles:
            del steps[step]
