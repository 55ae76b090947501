"""Pictures that show their prompt as text."""

import hashlib
import io
import textwrap
from typing import Any

from vllm_mock.media.libraries import pillow

# Pillow's names of the formats that may be asked for.
FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
MAX_SIDE = 4096  # pixels
MAX_UPLOADED_PIXELS = 64_000_000
# Where a character of the font is that many times as high as it is wide.
_ASPECT = 0.52
_LINE_HEIGHT = 1.25
_LARGEST_FONT = 1 / 8  # of the shorter side
_SMALLEST_FONT = 6  # pixels
_MARGIN = 1 / 16
_MAX_SHOWN = 2000  # characters


class BadPicture(Exception):
    """An uploaded file that is no picture; the message says why."""


def draw(prompt: str, width: int, height: int, variant: int = 0, source: bytes | None = None) -> Any:
    """A Pillow image of the prompt. `variant` changes the colours; `source` is a picture to show above the text.

    Raises BadPicture and MissingLibrary.
    """
    pil = pillow()
    digest = hashlib.sha256(f"{variant}:{prompt}".encode("utf-8", "surrogatepass")).digest()
    top = 0 if source is None else height * 2 // 3
    # Shades between two colours: a byte per pixel, a third of what a file of full colours would take to compress.
    image = pil.Image.new("L", (width, height))
    _write(pil, image, prompt[:_MAX_SHOWN], top)
    image.putpalette(_shades(tuple(value // 2 for value in digest[:3])))
    if source is not None:
        image = image.convert("RGB")
        _paste(image, opened(source), width, top)
    return image


def opened(data: bytes) -> Any:
    """An uploaded picture. Raises BadPicture and MissingLibrary."""
    pil = pillow()
    try:
        picture = pil.Image.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_UPLOADED_PIXELS:
            raise BadPicture("The image has too many pixels.")
        picture.load()
        return picture
    except pil.Image.DecompressionBombError:
        raise BadPicture("The image has too many pixels.") from None
    except (OSError, SyntaxError, ValueError):
        raise BadPicture("The file is not an image of a known format.") from None


def encoded(image: Any, format: str) -> bytes:
    """The image as a file; `format` is a key of FORMATS."""
    file = io.BytesIO()
    # Plain colours compress well at any level; the first is ten times as fast as the default.
    options: dict[str, Any] = {"compress_level": 1} if format == "png" else {"quality": 80}
    if format != "png":
        image = image.convert("RGB")
    image.save(file, FORMATS[format], **options)
    return file.getvalue()


def _shades(background: tuple[int, ...]) -> list[int]:
    """A palette from the background's colour to white."""
    return [colour + (255 - colour) * shade // 255 for shade in range(256) for colour in background]


def _paste(image: Any, picture: Any, width: int, height: int) -> None:
    picture = picture.convert("RGB")
    picture.thumbnail((width, height))
    image.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))


def _write(pil: Any, image: Any, text: str, top: int) -> None:
    width, height = image.width, image.height - top
    margin = int(min(width, height) * _MARGIN)
    size, lines = _fitted(text, width - 2 * margin, height - 2 * margin)
    pen = pil.ImageDraw.Draw(image)
    font = pil.ImageFont.load_default(size)
    pen.multiline_text((margin, top + margin), "\n".join(lines), 255, font, spacing=int(size * 0.25))


def _fitted(text: str, width: int, height: int) -> tuple[int, list[str]]:
    """The largest font size in pixels at which the text has room, and its lines."""
    size = max(_SMALLEST_FONT, int(min(width, height) * _LARGEST_FONT))
    while True:
        columns = max(1, int(width / (size * _ASPECT)))
        rows = max(1, int(height / (size * _LINE_HEIGHT)))
        lines = textwrap.wrap(text, columns) or [""]
        if len(lines) <= rows or size <= _SMALLEST_FONT:
            return size, lines[:rows]
        size = max(_SMALLEST_FONT, int(size * 0.85))
