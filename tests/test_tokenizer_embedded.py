"""The embedded tokenizer: exact round trips, special tokens, the forms of a token, its corpus."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_support import characters, embedded

from vllm_mock.tokenizer import TokenizerError, corpus_ids, corpus_text

MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>")
SPECIAL = ("<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
FRAGMENTS = (
    *SPECIAL, *MARKUP, " a", " word", " Ärger", "'ll", "n't", "\n", "\r\n", "\t", "  ", "\u00a0", "\u2028", "\x1c",
    "\0", "e\u0301", "\u202eabc", "שלום", "مرحبا", "你好", "👩‍👩‍👧", "🇩🇪", "½",
    "²", "١٢", "<|", "|>", "<s", "_",
    "1234567",
)  # fmt: skip
texts = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3)).map("".join))


@given(texts)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_from_its_ids(text):
    for tokenizer in (embedded(), characters()):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text


@given(texts)
@settings(max_examples=300, deadline=None)
def test_ids_are_those_of_the_library(text):
    for tokenizer in (embedded(), characters()):
        for add_special_tokens in (True, False):
            expected = tokenizer._backend.encode(text, add_special_tokens=add_special_tokens).ids
            assert tokenizer.encode(text, add_special_tokens) == expected


def test_long_texts_come_back_too():
    text = "".join(FRAGMENTS) * 1000 + "x" * 50_000 + " " * 50_000 + "🙂" * 10_000
    ids = embedded().encode(text, add_special_tokens=False)
    assert embedded().decode(ids, skip_special_tokens=False) == text


def test_remembered_chunks_are_bounded():
    from vllm_mock.tokenizer.chunk_cache import MAX_CHUNKS

    text = "".join(f" word{number}" for number in range(MAX_CHUNKS + 10)) + " x" + "y" * 1000
    assert embedded().decode(embedded().encode(text)) == text
    assert len(embedded()._chunks) <= MAX_CHUNKS
    assert max(map(len, embedded()._chunks)) < 1000


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "word \ud83d"])
def test_unpaired_surrogates_are_refused_in_vllms_words(text):
    with pytest.raises(TokenizerError, match=r"^TextEncodeInput must be Union\[TextInputSequence, "):
        embedded().encode(text)


def test_size_and_named_tokens():
    tokenizer = embedded()
    assert tokenizer.vocab_size == 16_384
    assert tokenizer.token(tokenizer.bos_token_id) == "<s>"
    assert tokenizer.token(tokenizer.eos_token_id) == "</s>"
    assert tokenizer.max_chars_per_token == max(len(tokenizer.token(i)) for i in range(tokenizer.vocab_size))


def test_encoding_adds_the_beginning_of_sequence_on_request():
    tokenizer = embedded()
    ids = tokenizer.encode("Hello", add_special_tokens=False)
    assert tokenizer.encode("Hello") == [tokenizer.bos_token_id, *ids]
    assert tokenizer.encode("") == [tokenizer.bos_token_id]
    assert tokenizer.encode("", add_special_tokens=False) == []


@pytest.mark.parametrize("text", SPECIAL)
def test_special_tokens_in_a_text_are_parsed_and_skipped_when_decoding(text):
    (token_id,) = embedded().encode(text, add_special_tokens=False)
    assert token_id in embedded().all_special_ids
    assert embedded().decode([token_id]) == ""
    assert embedded().token_bytes(token_id) == text.encode()
    assert embedded().piece(token_id) is None


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_one_token_that_decoding_shows(text):
    (token_id,) = embedded().encode(text, add_special_tokens=False)
    assert token_id not in embedded().all_special_ids
    assert embedded().decode([token_id]) == embedded().piece(token_id) == text


def test_forms_of_a_token():
    tokenizer = embedded()
    hello, word, broken = (tokenizer.encode(text, False)[-1] for text in ("Hello", " are", "\N{SNOWMAN}"))
    assert (tokenizer.token(hello), tokenizer.token(word)) == ("Hello", "Ġare")
    assert (tokenizer.token_bytes(word), tokenizer.piece(word)) == (b" are", " are")
    assert len(tokenizer.token_bytes(broken)) < 3
    assert tokenizer.piece(broken) is None


@pytest.mark.parametrize("token_id", [16_384, 2**31, 2**32, 2**64, -1])
def test_ids_outside_the_vocabulary_are_empty(token_id):
    tokenizer = embedded()
    assert (tokenizer.token(token_id), tokenizer.token_bytes(token_id)) == ("", b"")
    assert tokenizer.piece(token_id) == ""


def test_corpus_is_plain_prose_in_stored_ids():
    text, ids = corpus_text(), corpus_ids(embedded())
    assert text.isascii()
    assert 150_000 < len(text) < 400_000
    assert list(ids) == embedded().encode(text, add_special_tokens=False)


def test_corpus_of_another_tokenizer_is_the_beginning():
    excerpt = characters().decode(corpus_ids(characters()))
    assert 20_000 < len(excerpt) <= 30_000
    assert corpus_text().startswith(excerpt)
