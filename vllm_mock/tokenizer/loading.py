"""Which tokenizer the settings ask for."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_mock.settings import SettingsError
from vllm_mock.tokenizer.base import Tokenizer
from vllm_mock.tokenizer.chat_template import compile_template
from vllm_mock.tokenizer.errors import ChatTemplateError
from vllm_mock.tokenizer.fast import load_folder

if TYPE_CHECKING:
    from vllm_mock.settings import Settings

EMBEDDED = Path(__file__).parent.parent / "data" / "tokenizer"


def load_tokenizer(settings: "Settings") -> Tokenizer:
    """The tokenizer of --tokenizer (the embedded one by default), with the template of --chat-template.

    Raises SettingsError, one line naming the flag, its value and the reason.
    """
    name = settings.tokenizer
    try:
        tokenizer = _load_embedded() if name is None else _load(name, settings)
    except ValueError as error:
        raise SettingsError(f"--tokenizer {name}: {error}") from error
    if settings.chat_template:
        tokenizer.chat_templates = {"default": read_chat_template(settings.chat_template)}
    return tokenizer


def _load_embedded() -> Tokenizer:
    tokenizer = load_folder(EMBEDDED)
    tokenizer.embedded = True
    return tokenizer


def _load(name: str, settings: "Settings") -> Tokenizer:
    folder = Path(os.path.expanduser(name))
    if (folder / "tokenizer.json").is_file():
        return load_folder(folder)
    if name[:1] in ("", "/", ".", "~") and not (name and folder.exists()):
        raise ValueError("there is no such folder")
    from vllm_mock.tokenizer.hugging_face import load_hugging_face

    return load_hugging_face(
        name,
        token=settings.hf_token,
        revision=settings.tokenizer_revision or settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )


def read_chat_template(value: str) -> str:
    """The template of --chat-template: a file's content, or the value itself.

    Raises SettingsError when it is neither, or not a valid template.
    """
    source = _file_content(Path(os.path.expanduser(value)))
    if source is None:
        if not set("{}\n") & set(value):
            raise SettingsError(f"--chat-template {value}: no such file, and not a template")
        source = value
    try:
        compile_template(source)
    except ChatTemplateError as error:
        raise SettingsError(f"--chat-template {value}: {error}") from error
    return source


def _file_content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # an inline template is often too long, or no possible path at all
        return None
