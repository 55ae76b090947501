"""The Tokenizer that all rooms use: text to ids and back, whatever library is behind it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from vllm_mock.tokenizer import chat_template as chat
from vllm_mock.tokenizer.errors import ChatTemplateError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Vocabulary:
    """What is fixed about a tokenizer. `size`: ids that exist; `vocab_size`: the number that vLLM names.

    `special_tokens`: text by name (bos_token, …); `added_tokens`: text by id; `chat_templates`: sources by
    name.
    """

    size: int
    vocab_size: int
    eos_token_id: int
    bos_token_id: int | None
    all_special_ids: frozenset[int]
    special_tokens: Mapping[str, str]
    added_tokens: Mapping[int, str]
    chat_templates: Mapping[str, str]


class Tokenizer(ABC):
    """Text to token ids and back.

    `vocab_size`: tokens, added ones included (or what the model's config.json says).
    `token(id)`: a token in the vocabulary's form; `token_bytes(id)`: its raw bytes, for an added token its
    UTF-8 text; `piece(id)`: its text when its bytes are complete UTF-8 by themselves, else None (as for
    special tokens).
    All three are as cheap as a dict look-up, and empty for an id outside the vocabulary.
    """

    # Whether it is the one that vllm_mock/data holds, for which stored ids are valid.
    embedded = False
    token: Callable[[int], str]
    token_bytes: Callable[[int], bytes]
    piece: Callable[[int], str | None]

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._size = vocabulary.size
        self.vocab_size = vocabulary.vocab_size
        self.eos_token_id = vocabulary.eos_token_id
        self.bos_token_id = vocabulary.bos_token_id
        self.all_special_ids = vocabulary.all_special_ids
        self.special_tokens = dict(vocabulary.special_tokens)
        self.added_tokens = dict(vocabulary.added_tokens)
        self.chat_templates = dict(vocabulary.chat_templates)
        # The bound look-up of a dict costs a tenth of a call of a Python method.
        self.token = _Lazy(self._token, self._size).__getitem__
        self.token_bytes = _Lazy(self._token_bytes, self._size).__getitem__
        self.piece = _Lazy(self._piece, self._size).__getitem__

    @abstractmethod
    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`; special tokens written in it are parsed as such.

        `add_special_tokens` adds what the tokenizer's post-processor adds (a BOS, for example).
        Raises TokenizerError for a text with unpaired surrogates.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of `ids`. Ids outside the vocabulary are skipped, broken UTF-8 becomes U+FFFD.

        Raises TokenizerError for an id outside 0 … 2**32 - 1.
        """

    @cached_property
    @abstractmethod
    def max_chars_per_token(self) -> int:
        """Length of the longest vocabulary entry, in characters; n tokens hold at most n times as many."""

    def apply_chat_template(
        self,
        messages: Sequence[chat.Message],
        /,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> str:
        """The prompt of a conversation, to be encoded with add_special_tokens=False.

        `chat_template` is the source of another template, which may be anything; further keywords are variables.
        `continue_final_message` ends the prompt exactly with the last message's content.
        Raises ChatTemplateError, whose message is the template's own.
        """
        if "messages" in kwargs:
            raise ChatTemplateError("chat_template_kwargs cannot replace 'messages'.")
        variables = self.special_tokens | kwargs
        variables["messages"] = messages
        variables["tools"] = tools
        variables["documents"] = documents
        variables["add_generation_prompt"] = add_generation_prompt
        if chat_template:
            from vllm_mock.tokenizer.foreign_template import render_apart  # most servers refuse such templates

            return render_apart(chat_template, variables, continue_final_message)
        return chat.render(self._template(tools), variables, continue_final_message)

    def _template(self, tools: Sequence[Mapping[str, Any]] | None) -> str:
        templates = self.chat_templates
        if tools and "tool_use" in templates:
            return templates["tool_use"]
        try:
            return templates["default"]
        except KeyError:
            raise ChatTemplateError(
                "The tokenizer has no chat template: give one with --chat-template, or use /v1/completions."
            ) from None

    @abstractmethod
    def _token(self, token_id: int) -> str: ...

    @abstractmethod
    def _token_bytes(self, token_id: int) -> bytes: ...

    @cached_property
    def _neighbour(self) -> tuple[int, str]:
        """Some token and its text, to put before another one."""
        *_, token_id = self.eos_token_id, *self.encode("a", add_special_tokens=False)
        return token_id, self.decode([token_id], skip_special_tokens=False)

    def _text_inside(self, token_id: int) -> str:
        """The text a token adds inside a sentence: decoders drop the space of the first token."""
        neighbour, text = self._neighbour
        return self.decode([neighbour, token_id], skip_special_tokens=False).removeprefix(text)

    def _piece(self, token_id: int) -> str | None:
        if token_id in self.all_special_ids:
            return None
        try:
            # Not the one that remembers: who asks for a text rarely asks for the bytes as well.
            return self._token_bytes(token_id).decode()
        except UnicodeDecodeError:
            return None


class _Lazy(dict[int, Value]):
    """A dict that computes what it lacks; ids outside the vocabulary are not kept, so its size is bounded."""

    def __init__(self, compute: Callable[[int], Value], size: int) -> None:
        super().__init__()
        self._compute = compute
        self._size = size

    def __missing__(self, token_id: int) -> Value:
        value = self._compute(token_id)
        if 0 <= token_id < self._size:
            self[token_id] = value
        return value
