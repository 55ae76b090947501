"""Where a simulation keeps what it prepares once."""

import os
import tempfile
from pathlib import Path

from vllm_mock.settings import Settings


def cached(settings: Settings, name: str) -> Path | None:
    """The file `name` of the cache, if it is there."""
    return next((folder / name for folder in _folders(settings) if (folder / name).exists()), None)


def cache_folder(settings: Settings) -> Path | None:
    """The folder to write to: --simulation-cache, or one for temporary files where that is read-only; else None."""
    return next(filter(_writable, _folders(settings)), None)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _folders(settings: Settings) -> list[Path]:
    chosen = Path(settings.simulation_cache) if settings.simulation_cache else _default()
    return [folder for folder in (chosen, _temporary()) if folder is not None]


def _default() -> Path | None:
    """None for a user who has no home."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "vllm-mock"
    home = Path(os.path.expanduser("~"))
    return home / ".cache" / "vllm-mock" if home.is_absolute() else None


def _temporary() -> Path | None:
    """A folder of this user's alone: others may write beside it."""
    try:
        folder = Path(tempfile.gettempdir()) / f"vllm-mock-{os.getuid()}"
        return folder if not folder.exists() or folder.stat().st_uid == os.getuid() else None
    except OSError:
        return None
