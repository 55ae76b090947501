"""The two libraries behind all media, imported when first needed."""

import warnings
from functools import cache
from types import ModuleType
from typing import Any


class MissingLibrary(Exception):
    """A format that needs a package which is not installed; the message says which."""


def pyav() -> Any:
    """PyAV, which reads and writes sound and films. Raises MissingLibrary."""
    try:
        import av
    except ImportError:
        raise MissingLibrary("This format needs PyAV: pip install av") from None
    # FFmpeg's remarks about broken uploads are for the client that sent them, not for the server's log.
    av.logging.set_level(None)
    return av


@cache
def pillow() -> ModuleType:
    """Pillow, with the modules that draw. Raises MissingLibrary."""
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError:
        raise MissingLibrary("Images need Pillow: pip install pillow") from None
    # As above: what is odd about an upload.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    return PIL
