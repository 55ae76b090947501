"""Which token brings which text."""

import pytest
from generation_support import char_tokenizer, embedded_tokenizer, say
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from vllm_mock.generation.detokenize import Detokenizer
from vllm_mock.tokenizer.config import TokenizerConfig
from vllm_mock.tokenizer.fast import FastTokenizer

WORDS = ["Hel", "lo", "wor", "ld", "it", "s", "A", "and", ",", ".", "'"]


def wrapped(backend):
    backend.add_special_tokens([AddedToken("</s>", special=True)])
    return FastTokenizer(backend, TokenizerConfig(special_tokens={"eos_token": "</s>"}))


def sentence_piece_like():
    """Byte fallback and a space before the first word, as the tokenizers of Llama 2 and Mistral have."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *(f"▁{word}" for word in WORDS), *WORDS]
    backend = Tokenizer(models.Unigram([(piece, -5.0) for piece in pieces], unk_id=0, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrapped(backend)


def word_piece():
    """Spaces between words only, and clean-up before punctuation: the text of a token depends on its neighbours."""
    pieces = ["[UNK]", *WORDS, *(f"##{word}" for word in WORDS)]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return wrapped(backend)


@pytest.mark.parametrize("make", [embedded_tokenizer, char_tokenizer, sentence_piece_like, word_piece])
@pytest.mark.parametrize(
    "text",
    [
        "Hello world",
        " Hello  world",
        "it's Hello, and A.",
        "naïve café, 東京 😀!",
        "",
        "Hello\n\n\tworld ",
        "Hello</s> world",
        "</s>Hello",
    ],
)
@pytest.mark.parametrize("skip", [True, False])
def test_the_increments_add_up_to_the_decoded_text(make, text, skip):
    tokenizer = make()
    ids = tokenizer.encode(text, add_special_tokens=False)
    deltas = Detokenizer(tokenizer).deltas(ids, skip)
    assert len(deltas) == len(ids)
    assert "".join(deltas) == tokenizer.decode(ids, skip)


def test_sentence_piece_words_keep_their_spaces_but_the_first():
    tokenizer = sentence_piece_like()
    ids = tokenizer.encode("Hello world", add_special_tokens=False)
    assert Detokenizer(tokenizer).deltas(ids) == ["Hel", "lo", " wor", "ld"]


def test_word_pieces_are_decoded_in_their_context():
    tokenizer = word_piece()
    ids = tokenizer.encode("Hello world, A", add_special_tokens=False)
    assert Detokenizer(tokenizer).deltas(ids) == ["Hel", "lo", " wor", "ld", ",", " A"]


@pytest.mark.parametrize(
    ("text", "deltas"),
    [
        ("aé€😀b", ["a", "", "é", "", "", "€", "", "", "", "😀", "b", ""]),
        ("a\ufffdbc", ["a", "", "", "", "\ufffdb", "c", ""]),
        ("a\ufffd", ["a", "", "", "", ""]),
        ("a<s>b<think>c", ["a", "", "b", "<think>", "c", ""]),
    ],
)
def test_characters_of_several_tokens_come_with_the_last_one(text, deltas):
    assert say(text).deltas == deltas


@pytest.mark.parametrize(("max_tokens", "deltas"), [(4, ["a", "", "é", ""]), (5, ["a", "", "é", "", ""])])
def test_an_incomplete_character_at_the_end_never_shows(max_tokens, deltas):
    choice = say("aé€b", max_tokens=max_tokens)
    assert (choice.deltas, choice.finish_reason) == (deltas, "length")


def test_an_invalid_byte_shows_with_the_text_after_it():
    tokenizer = char_tokenizer()
    start_of_euro = tokenizer.encode("€", add_special_tokens=False)[0]
    letter = tokenizer.encode("a", add_special_tokens=False)[0]
    ids = [letter, start_of_euro, letter, letter]
    assert Detokenizer(tokenizer).deltas(ids) == ["a", "", "\ufffda", "a"]
    assert Detokenizer(tokenizer).token_texts(ids) == ["a", "", "a", "a"]


def test_token_texts_are_those_of_the_log_probabilities():
    tokenizer = char_tokenizer()
    ids = tokenizer.encode("€x\ufffd😀<s>b", add_special_tokens=False)
    texts = Detokenizer(tokenizer).token_texts(ids)
    assert texts == ["", "", "€", "x", "", "", "", "", "", "", "😀", "<s>", "b"]
