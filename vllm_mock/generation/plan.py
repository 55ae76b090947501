"""The Generator: from a request's sampling parameters to complete answers."""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from vllm_mock.tokenizer import Tokenizer, corpus_ids

from .constraints import Constraints, is_constrained
from .detokenize import Detokenizer
from .draws import GOLDEN_GAMMA, Draws, mix64, prompt_key
from .framing import Framing
from .length import SHORTEST_ANSWER, natural_length
from .logprobs import LogprobSource, TokenLogprobs
from .spec import ChoicePlan, SamplingSpec
from .stop import end_at_stop_string, end_at_stop_token
from .text import Corpus, Introductions, Passage

if TYPE_CHECKING:
    from vllm_mock.settings import Settings

    from .structured import Structure

# How often another answer is tried when a choice of n repeats an earlier one; very short answers must repeat.
_MAX_REDRAWS = 4
# From the usual number of tokens to a length of structured text.
_CHARS_PER_TOKEN = 4
# How many tokens of the corpus are looked at for a word, at first and at most.
_TOKENS_PER_WORD = 2
_LONGEST_WORD = 64


class _Material(NamedTuple):
    """What takes a moment to prepare."""

    corpus: Corpus
    introductions: Introductions
    logprobs: LogprobSource


class Generator:
    """Plans answers for one server process. Safe to use from several threads."""

    def __init__(self, settings: "Settings", tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._eos = tokenizer.eos_token_id
        self._echo = settings.mode == "echo"
        self._mean = settings.output_tokens_mean
        self._std_dev = settings.output_tokens_std_dev
        self._model = settings.served_model_name[0]
        self._pod_name = settings.pod_name
        self._sequence_key = mix64(settings.seed or 0)
        self._count = itertools.count(1)
        self._detokenizer = Detokenizer(tokenizer)
        self._lock = threading.Lock()
        self._material: _Material | None = None

    def warm_up(self) -> None:
        """Prepare the corpus, which plan() would otherwise do at the first request; for any thread."""
        self._prepared()

    def plan(self, spec: SamplingSpec, prompt_token_ids: Sequence[int]) -> list[ChoicePlan]:
        """Return the `spec.n` answers to a prompt."""
        key = self._key(spec, prompt_token_ids)
        if spec.n == 1:
            return [self._choice(spec, key)]
        said: set[tuple[int, ...]] = set()
        return [self._another_choice(spec, mix64(key + index), said) for index in range(spec.n)]

    def spoken(self, key: int, words: int) -> ChoicePlan:
        """Return what is heard in a recording: `words` words of the corpus, the same for the same key."""
        corpus = self._prepared().corpus
        start = corpus.sentence_start(Draws(mix64(key)), 0)
        count = words * _TOKENS_PER_WORD
        while True:
            heard = "".join(corpus.passage(start, count).deltas).split()
            # The last one may be cut.
            if len(heard) > words or count > words * _LONGEST_WORD:
                break
            count *= 2
        ids = self._tokenizer.encode(" ".join(heard[:words]), add_special_tokens=False)
        return self._from_ids(SamplingSpec(len(ids) + 1), ids, ends=True)

    def prompt_logprobs(self, prompt_token_ids: Sequence[int], top: int) -> list[TokenLogprobs | None]:
        """Return one entry per prompt token, None for the first; `top`: number of alternatives (-1: all)."""
        return self._prepared().logprobs.of_prompt(prompt_token_ids, top)

    def _key(self, spec: SamplingSpec, prompt_token_ids: Sequence[int]) -> int:
        if spec.greedy:
            return prompt_key(prompt_token_ids, None)
        if spec.seed is not None:
            return prompt_key(prompt_token_ids, spec.seed)
        return mix64(self._sequence_key + next(self._count) * GOLDEN_GAMMA)

    def _another_choice(self, spec: SamplingSpec, key: int, said: set[tuple[int, ...]]) -> ChoicePlan:
        """Return an answer that is not among those already `said`, where one is easily found, and note it there."""
        choice = self._choice(spec, key)
        for redraw in range(0 if self._echo else _MAX_REDRAWS):
            if tuple(choice.token_ids) not in said:
                break
            choice = self._choice(spec, mix64(key + redraw))
        said.add(tuple(choice.token_ids))
        return choice

    def _choice(self, spec: SamplingSpec, key: int) -> ChoicePlan:
        draws = Draws(key)
        if spec.structure is None and is_constrained(spec) and not self._frames_constrained(spec):
            choice = self._constrained(spec, draws)
        elif self._echo:
            choice = self._echoed(spec, draws)
        elif spec.framing is not None:
            choice = self._framed(spec, spec.framing, draws)
        elif spec.structure is not None:
            choice = self._structured(spec, spec.structure, draws)
        else:
            choice = self._composed(spec, draws)
        if spec.stop_token_ids:
            end_at_stop_token(choice, spec)
        if spec.stop:
            end_at_stop_string(choice, spec)
        if spec.logprobs is not None:
            source = self._prepared().logprobs
            choice.logprobs = source.of_output(choice.token_ids, spec.logprobs, key, spec.greedy)
        return choice

    def _frames_constrained(self, spec: SamplingSpec) -> bool:
        """Whether a restricted vocabulary still has what stands around reasoning and calls."""
        return spec.framing is not None and spec.allowed_token_ids is None and not self._echo

    def _framed(self, spec: SamplingSpec, framing: Framing, draws: Draws) -> ChoicePlan:
        """Answer with reasoning first, where it is wanted, and then with a text or with calls of tools."""
        length = natural_length(draws, self._mean, self._std_dev, spec.min_tokens)
        calls = None if framing.calls is None else self._tokenizer.encode(framing.calls(draws), False)
        # Of a bounded answer, reasoning must leave most to a structured text, whose length is not yet known.
        reserved = len(calls) if calls is not None else 0 if spec.structure is None else spec.max_tokens * 2 // 3
        thought = self._reasoned(spec, framing, draws, length, reserved)
        count = len(thought.ids)
        if count >= spec.max_tokens:
            return ChoicePlan(thought.ids[: spec.max_tokens], thought.deltas[: spec.max_tokens], "length")
        rest = replace(spec, max_tokens=spec.max_tokens - count, min_tokens=max(0, spec.min_tokens - count))
        if calls is not None:
            choice = self._calling(rest, calls, draws)
        elif rest.structure is not None:
            choice = self._structured(rest, rest.structure, draws)
        elif is_constrained(rest):
            choice = self._constrained(rest, draws)
        else:
            choice = self._composed(rest, draws, max(length - count, SHORTEST_ANSWER, rest.min_tokens + 1))
        choice.token_ids = thought.ids + choice.token_ids
        choice.deltas = thought.deltas + choice.deltas
        return choice

    def _reasoned(self, spec: SamplingSpec, framing: Framing, draws: Draws, length: int, reserved: int) -> Passage:
        """Return reasoning between its tags for an answer of `length` tokens, if possible with `reserved` left."""
        reasoning = framing.reasoning
        if reasoning is None:
            return Passage([], [])
        whole = spec.max_tokens if spec.ignore_eos else min(length, spec.max_tokens)
        before, after = (self._tokenizer.encode(tag, False) for tag in (reasoning.start, reasoning.end))
        room = spec.max_tokens - reserved - len(before) - len(after)
        count = min(reasoning.length(whole), room) if reserved else reasoning.length(whole)
        thoughts = self._thoughts(draws, max(count, 0))
        if thoughts and is_constrained(spec):
            thoughts = Constraints(self._tokenizer, spec).tokens(thoughts, count, draws)
        ids = before + thoughts + after
        return Passage(ids, self._detokenizer.deltas(ids, spec.skip_special_tokens))

    def _thoughts(self, draws: Draws, count: int) -> list[int]:
        """Return tokens of whole sentences, if possible."""
        corpus = self._prepared().corpus
        return corpus.passage(corpus.sentence_start(draws, count), count).ids if count else []

    def _calling(self, spec: SamplingSpec, calls: list[int], draws: Draws) -> ChoicePlan:
        """Answer with tokens that call tools, and with more where the answer may not end behind them."""
        length = max(len(calls), spec.min_tokens)
        ends = not spec.ignore_eos and length < spec.max_tokens
        count = length if ends else spec.max_tokens
        return self._from_ids(spec, (calls + self._thoughts(draws, max(0, count - len(calls))))[:count], ends)

    def _composed(self, spec: SamplingSpec, draws: Draws, length: int | None = None) -> ChoicePlan:
        """Answer with an introduction and sentences of the corpus, `length` tokens where nothing cuts it short."""
        if length is None:
            length = natural_length(draws, self._mean, self._std_dev, spec.min_tokens)
        ends = not spec.ignore_eos and length <= spec.max_tokens
        passage = self._passage(spec, draws, length - 1, length - 1 if ends else spec.max_tokens)
        return self._close(spec, passage, ends)

    def _passage(self, spec: SamplingSpec, draws: Draws, length: int, count: int) -> Passage:
        """Return the first `count` tokens of a text that ends with a sentence after `length` tokens."""
        corpus, introductions, _ = self._material or self._prepared()
        introduction = introductions.draw(draws, spec.model or self._model)
        introduced = len(introduction.ids)
        if count <= introduced:
            return Passage(introduction.ids[:count], introduction.deltas[:count])
        start = corpus.sentence_start(draws, length - introduced)
        rest = corpus.passage(start, count - introduced)
        return Passage(introduction.ids + rest.ids, introduction.deltas + rest.deltas)

    def _echoed(self, spec: SamplingSpec, draws: Draws) -> ChoicePlan:
        """Answer with the last user message, repeated where a minimum or ignore_eos asks for more."""
        ids = self._echo_ids(spec)
        if not ids and (spec.ignore_eos or spec.min_tokens > 0):
            return self._composed(spec, draws)
        length = max(len(ids), spec.min_tokens)
        ends = not spec.ignore_eos and length < spec.max_tokens
        count = length if ends else spec.max_tokens
        if count > len(ids):
            ids *= -(-count // len(ids))
        del ids[count:]
        return self._from_ids(spec, ids, ends)

    def _echo_ids(self, spec: SamplingSpec) -> list[int]:
        ids = self._tokenizer.encode(spec.last_user_text, add_special_tokens=False)
        # A message may spell the end-of-sequence token, which would end the answer inside.
        return [i for i in ids if i != self._eos] if self._eos in ids else ids

    def _constrained(self, spec: SamplingSpec, draws: Draws) -> ChoicePlan:
        """Answer token by token where the request restricts the vocabulary."""
        constraints = Constraints(self._tokenizer, spec)
        usual = self._echo_ids(spec) if self._echo else []
        length = max(len(usual), spec.min_tokens)
        if not usual:
            length = natural_length(draws, self._mean, self._std_dev, spec.min_tokens) - 1
            usual = self._passage(spec, draws, length, length + len(self._prepared().corpus)).ids
        ends = constraints.eos_possible and not spec.ignore_eos and length < spec.max_tokens
        count = length if ends else spec.max_tokens
        ids = constraints.tokens(usual, count, draws)
        if len(ids) == count:
            return self._from_ids(spec, ids, ends)
        # Nothing but the end of sequence is left to sample.
        if spec.ignore_eos:
            return self._from_ids(spec, ids + [self._eos] * (count - len(ids)), ends=False)
        return self._from_ids(spec, ids, ends=True)

    def _structured(self, spec: SamplingSpec, structure: "Structure", draws: Draws) -> ChoicePlan:
        """Answer with a text that follows a structure, cut only if the shortest found is too long."""
        # Imported here: only such requests pay for it.
        from .structured import structured_ids

        length = natural_length(draws, self._mean, self._std_dev, spec.min_tokens)
        room = spec.max_tokens if spec.ignore_eos else spec.max_tokens - 1
        try:
            ids = structured_ids(self._tokenizer, structure, draws, room, spec.min_tokens, length * _CHARS_PER_TOKEN)
        except ValueError:
            # Accepted by vLLM's libraries, but not understood here.
            return self._composed(spec, draws)
        if len(ids) > room:
            return self._from_ids(spec, ids[: spec.max_tokens], ends=False)
        if not spec.ignore_eos:
            return self._from_ids(spec, ids, ends=True)
        # Once the end of sequence has been sampled nothing holds the text to the structure any more.
        missing = spec.max_tokens - len(ids)
        rest = self._passage(spec, draws, missing, missing).ids
        return self._from_ids(spec, [*ids, self._eos, *rest][: spec.max_tokens], ends=False)

    def _from_ids(self, spec: SamplingSpec, ids: list[int], ends: bool) -> ChoicePlan:
        passage = Passage(ids, self._detokenizer.deltas(ids, spec.skip_special_tokens))
        return self._close(spec, passage, ends)

    def _close(self, spec: SamplingSpec, passage: Passage, ends: bool) -> ChoicePlan:
        """Make an answer of a passage that reaches the bound, or `ends` with the end-of-sequence token.

        That token shows only where it is asked for.
        """
        if not ends:
            return ChoicePlan(passage.ids, passage.deltas, "length")
        skipped = spec.skip_special_tokens and self._eos in self._tokenizer.all_special_ids
        shown = spec.include_stop_str_in_output and not skipped
        passage.ids.append(self._eos)
        passage.deltas.append("")
        if shown:
            # With the others: text that was held back as an incomplete character comes out before it.
            passage = Passage(passage.ids, self._detokenizer.deltas(passage.ids, spec.skip_special_tokens))
        return ChoicePlan(passage.ids, passage.deltas, "stop")

    def _prepared(self) -> _Material:
        with self._lock:
            if self._material is None:
                self._material = self._prepare()
            return self._material

    def _prepare(self) -> _Material:
        ids = corpus_ids(self._tokenizer)
        corpus = Corpus(ids, self._detokenizer.deltas(ids))
        return _Material(
            corpus,
            Introductions(self._pod_name, self._tokenizer, self._detokenizer),
            LogprobSource(self._tokenizer, self._detokenizer, corpus.ids),
        )
