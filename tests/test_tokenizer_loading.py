"""--tokenizer and --chat-template: folders of every shape, Hugging Face ids, and clear refusals."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from settings_support import load
from tokenizer_support import CHAR_TOKENIZER, embedded, from_folder, turn, write_folder
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from vllm_mock.settings import SettingsError
from vllm_mock.tokenizer import ChatTemplateError, load_tokenizer
from vllm_mock.tokenizer.hugging_face import SlowTokenizer

EOS = {"eos_token": "</s>"}
HI = [turn("user", "hi")]


def sentencepiece_like() -> Tokenizer:
    """Spaces as U+2581 and unknown bytes as <0xNN>, as in Llama 2; a BOS is added."""
    tokens = ["<unk>", "<s>", "</s>", "▁", "▁Hi", "a", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: token_id for token_id, token in enumerate([*tokens, "▁H", "H", "i"])}
    merges = [("▁", "H"), ("▁H", "i")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def words(*extra: str, **options) -> Tokenizer:
    vocabulary = {word: token_id for token_id, word in enumerate(["hello", "world", "##ing", "[SEP]", *extra])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[SEP]", **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def test_pieces_of_a_sentencepiece_vocabulary(tmp_path):
    tokenizer = from_folder(write_folder(tmp_path, sentencepiece_like(), tokenizer_config=EOS | {"bos_token": "<s>"}))
    ids = tokenizer.encode("Hi é")
    assert [tokenizer.token(token_id) for token_id in ids] == ["<s>", "▁Hi", "▁", "<0xC3>", "<0xA9>"]
    assert [tokenizer.token_bytes(token_id) for token_id in ids[1:]] == [b" Hi", b" ", b"\xc3", b"\xa9"]
    assert [tokenizer.piece(token_id) for token_id in ids] == [None, " Hi", " ", None, None]
    assert tokenizer.decode(ids) == "Hi é"


def test_pieces_of_a_wordpiece_vocabulary(tmp_path):
    tokenizer = from_folder(write_folder(tmp_path, words(), tokenizer_config={"sep_token": "[SEP]"}))
    ids = tokenizer.encode("hello worlding")
    assert [tokenizer.piece(token_id) for token_id in ids] == [" hello", " world", "ing"]
    assert tokenizer.token(tokenizer.eos_token_id) == "[SEP]"
    assert tokenizer.bos_token_id is None


def test_post_processor_frames_a_text(tmp_path):
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 256), ("</s>", 257)]
    )
    tokenizer = from_folder(write_folder(tmp_path, backend, tokenizer_config=EOS))
    assert tokenizer.encode("Hi") == [256, 39, 72, 257]
    assert tokenizer.encode("Hi", add_special_tokens=False) == [39, 72]


def test_added_tokens_that_take_neighbours_along_are_respected(tmp_path):
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    backend.add_special_tokens([AddedToken("<mask>", rstrip=True), AddedToken("two words")])
    tokenizer = from_folder(write_folder(tmp_path, backend, tokenizer_config=EOS))
    for text in ("a <mask> b", "x two words y"):
        assert tokenizer.encode(text) == backend.encode(text).ids


def test_tokens_written_as_objects_and_declared_beside_the_file(tmp_path):
    config = {
        "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True},
        "bos_token": None,
        "added_tokens_decoder": {
            "256": {"content": "<s>", "special": True},
            "264": {"content": "<extra>", "special": False, "normalized": False},
            "265": {"content": "<end>", "special": True},
        },
    }
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    tokenizer = from_folder(write_folder(tmp_path, backend, tokenizer_config=config))
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (257, None)
    assert tokenizer.encode("<extra><end>") == [264, 265]
    assert tokenizer.decode([264, 265]) == "<extra>"
    assert tokenizer.vocab_size == 266


def test_special_tokens_map_and_the_models_own_files(tmp_path):
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    model = {"text_config": {"vocab_size": 500}, "eos_token_id": [257, 259]}
    folder = write_folder(tmp_path, backend, special_tokens_map={"bos_token": "<s>"}, config=model)
    tokenizer = from_folder(folder)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.vocab_size) == (256, 257, 500)


def test_template_file_wins_and_a_tool_template_is_for_tools(tmp_path):
    named = [{"name": "default", "template": "old"}, {"name": "tool_use", "template": "tools"}]
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    folder = write_folder(tmp_path, backend, tokenizer_config=EOS | {"chat_template": named})
    assert from_folder(folder).apply_chat_template(HI) == "old"
    (folder / "chat_template.jinja").write_text("neuér")
    assert from_folder(folder).apply_chat_template(HI) == "neuér"
    assert from_folder(folder).apply_chat_template(HI, tools=[{}]) == "tools"


def test_without_a_template_a_conversation_is_an_error(tmp_path):
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    tokenizer = from_folder(write_folder(tmp_path, backend, tokenizer_config=EOS))
    with pytest.raises(ChatTemplateError, match="has no chat template"):
        tokenizer.apply_chat_template(HI)


def test_chat_template_of_the_command_line(tmp_path):
    file = tmp_path / "template.jinja"
    file.write_text("é{{ messages[0].content }}")
    for value in (str(file), "é{{ messages[0].content }}"):
        assert load_tokenizer(load("--chat-template", value)).apply_chat_template(HI) == "éhi"
    # vLLM takes an inline template literally.
    assert load_tokenizer(load("--chat-template", r"{{ 1 }}\n")).apply_chat_template(HI) == r"1\n"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--tokenizer", "./nowhere"], "--tokenizer ./nowhere: there is no such folder"),
        (["--tokenizer", "/nowhere/at/all"], "--tokenizer /nowhere/at/all: there is no such folder"),
        (["--chat-template", "nowhere.jinja"], "--chat-template nowhere.jinja: no such file, and not a template"),
        (
            ["--chat-template", "{% if %}"],
            "--chat-template {% if %}: Expected an expression, got 'end of statement block'",
        ),
    ],
)
def test_what_cannot_be_loaded_is_named(flags, reason):
    with pytest.raises(SettingsError) as error:
        load_tokenizer(load(*flags))
    assert str(error.value) == reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tokenizer.json", "{}", "tokenizer.json cannot be read: "),
        ("tokenizer.json", "not JSON", "tokenizer.json cannot be read: "),
        ("tokenizer_config.json", "{", "tokenizer_config.json cannot be read: "),
        ("tokenizer_config.json", "[]", "tokenizer_config.json is not a JSON object"),
        ("tokenizer_config.json", '{"chat_template": [{}]}', "its configuration files are not as they should be: "),
        ("tokenizer_config.json", "{}", "it names no end-of-sequence token"),
    ],
)
def test_broken_folders_are_refused_in_one_line(tmp_path, name, content, reason):
    write_folder(tmp_path, Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json")), tokenizer_config=EOS)
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError) as error:
        from_folder(tmp_path)
    assert str(error.value).startswith(f"--tokenizer {tmp_path}: {reason}")
    assert "\n" not in str(error.value)


class FakeTransformers(ModuleType):
    """Stands for the package `transformers`: answers one id, and remembers what it was asked."""

    def __init__(self, answer) -> None:
        super().__init__("transformers")
        self.asked: list[tuple] = []
        self.answer = answer
        self.AutoTokenizer = SimpleNamespace(from_pretrained=self._from_pretrained)

    def _from_pretrained(self, name, **options):
        self.asked.append((name, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def transformers(monkeypatch):
    def install(answer):
        fake = FakeTransformers(answer)
        monkeypatch.setitem(sys.modules, "transformers", fake)
        return fake

    return install


def test_hugging_face_ids_go_through_transformers(transformers):
    backend = Tokenizer.from_file(str(CHAR_TOKENIZER / "tokenizer.json"))
    loaded = SimpleNamespace(
        backend_tokenizer=backend, special_tokens_map={"eos_token": "</s>"}, chat_template="{{ eos_token }}!"
    )
    fake = transformers(loaded)
    flags = ["--tokenizer", "org/name", "--revision", "r1", "--trust-remote-code", "--hf-token", "secret"]
    tokenizer = load_tokenizer(load(*flags))
    assert fake.asked == [("org/name", {"token": "secret", "revision": "r1", "trust_remote_code": True})]
    assert tokenizer.encode("Hi") == [39, 72]
    assert tokenizer.apply_chat_template(HI) == "</s>!"
    assert not tokenizer.embedded


def test_reason_of_transformers_is_one_line(transformers):
    transformers(OSError("org/name is no\n  local folder" + " and so on" * 100))
    with pytest.raises(SettingsError, match=r"^--tokenizer org/name: org/name is no local folder and .{,300} \.\.\.$"):
        load_tokenizer(load("--tokenizer", "org/name"))


def test_missing_transformers_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"^--tokenizer org/name: .* `pip install transformers`$"):
        load_tokenizer(load("--tokenizer", "org/name"))


class PythonTokenizer:
    """What SlowTokenizer uses of a tokenizer without a Rust backend; its text is that of the embedded one."""

    eos_token_id, bos_token_id, all_special_ids = 16_371, None, [16_371]
    special_tokens_map = {"eos_token": "</s>"}  # noqa: RUF012
    added_tokens_decoder = {16_371: "</s>"}  # noqa: RUF012
    chat_template = None

    def __len__(self):
        return 16_384

    def encode(self, text, add_special_tokens):
        text.encode()
        return embedded().encode(text, add_special_tokens=False)

    def decode(self, ids, skip_special_tokens):
        return embedded().decode(ids, skip_special_tokens)

    def convert_ids_to_tokens(self, token_id):
        return embedded().token(token_id)

    def get_vocab(self):
        return {"</s>": 16_371, "longest": 5}


def test_tokenizers_written_in_python(transformers):
    transformers(PythonTokenizer())
    tokenizer = load_tokenizer(load("--tokenizer", "org/slow"))
    assert isinstance(tokenizer, SlowTokenizer)
    ids = tokenizer.encode("Hello there ☃")
    assert tokenizer.decode([*ids, 99_999, 16_371]) == "Hello there ☃"
    assert tokenizer.token(ids[0]) == "Hello"
    assert (tokenizer.piece(ids[0]), tokenizer.piece(ids[-1]), tokenizer.piece(16_371)) == ("Hello", None, None)
    assert tokenizer.token_bytes(16_371) == b"</s>"
    assert tokenizer.token(99_999) == ""
    assert (tokenizer.max_chars_per_token, tokenizer.vocab_size) == (7, 16_384)
    with pytest.raises(ValueError, match="surrogates"):
        tokenizer.encode("\ud800")
