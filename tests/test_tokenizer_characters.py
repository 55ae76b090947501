"""The character-level tokenizer of the contract tests has the ids of vLLM's captures."""

import json
import runpy
from pathlib import Path

import pytest
from tokenizer_support import CHAR_TOKENIZER, characters, turn
from tokenizers import Tokenizer as Backend

from vllm_mock.tokenizer import TokenizerError

SCRIPT = Path(__file__).parent.parent / "scripts" / "build_char_tokenizer.py"


def test_ids_of_the_captures():
    assert characters().encode("Hi <s>") == [39, 72, 220, 256]
    assert characters().encode("hi") == [71, 72]
    assert characters().decode([39, 72]) == "Hi"
    assert list(characters().added_tokens.items()) == [
        (256, "<s>"), (257, "</s>"), (258, "<|user|>"), (259, "<|assistant|>"),
        (260, "<think>"), (261, "</think>"), (262, "<tool_call>"), (263, "</tool_call>"),
    ]  # fmt: skip


def test_vocabulary_is_the_models():
    assert characters().vocab_size == 320
    assert (characters().bos_token_id, characters().eos_token_id) == (256, 257)
    assert characters().all_special_ids == {256, 257, 258, 259}
    assert characters().max_chars_per_token == len("<|assistant|>")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hi", ["H", "i"]),
        ("a😀b\0", ["a", "ð", "Ł", "ĺ", "Ģ", "b", "Ā"]),
        ("<s>hi<think>", ["<s>", "h", "i", "<think>"]),
    ],
)
def test_token_strings(text, tokens):
    assert [characters().token(token_id) for token_id in characters().encode(text)] == tokens


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        ([999_999], ""),
        ([4_294_967_295], ""),
        ([256, 39, 257, 260, 258, 300, 319, 320, 72], "<s>H</s><think><|user|>i"),
        ([200, 201, 127], "\f\r\ufffd"),
    ],
)
def test_detokenizing(ids, text):
    assert characters().decode(ids, skip_special_tokens=False) == text


def test_ids_beyond_32_bits_are_refused():
    with pytest.raises(TokenizerError, match=r"^number too large to fit in target type$"):
        characters().decode([2**32])


def test_conversations():
    render = characters().apply_chat_template
    assert render([turn("user", "hi")]) == "<|user|>hi<|assistant|>"
    conversation = [turn("system", "s"), turn("user", "u"), turn("assistant", " a ")]
    assert render(conversation, add_generation_prompt=False) == "<|user|>s<|user|>u<|assistant|> a "


def test_script_writes_the_committed_files(tmp_path):
    runpy.run_path(str(SCRIPT))["main"](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in CHAR_TOKENIZER.iterdir())
    for name in ("tokenizer_config.json", "config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((CHAR_TOKENIZER / name).read_text())
    built, committed = (Backend.from_file(str(folder / "tokenizer.json")) for folder in (tmp_path, CHAR_TOKENIZER))
    assert built.to_str() == committed.to_str()
