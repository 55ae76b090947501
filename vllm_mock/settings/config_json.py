"""config.json beside app.py: the token for Hugging Face."""

import json
from pathlib import Path

from .errors import SettingsError

CONFIG_JSON = Path(__file__).resolve().parents[2] / "config.json"
_PLACEHOLDER = "your huggingface token"


def hugging_face_token(path: Path) -> str | None:
    """The file's huggingface_token; None without file or key, or while it is the placeholder.

    Raises SettingsError naming the file when it is unreadable, no JSON object, or its token no string.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a JSON object with the key huggingface_token")
    token = content.get("huggingface_token")
    if token is not None and not isinstance(token, str):
        raise SettingsError(f"{path}: huggingface_token must be a string")
    return None if token is None or token.strip() in ("", _PLACEHOLDER) else token.strip()
