"""Films: a prompt as text, and a bar that grows while time passes."""

import io
import time
from functools import lru_cache

from vllm_mock.media import picture
from vllm_mock.media.libraries import pyav

CONTENT_TYPE = "video/mp4"
MIN_SIDE, MAX_SIDE = 16, 4096  # pixels
# 20 seconds of 1920x1080, which take about 4 seconds to encode.
MAX_PIXELS = 1920 * 1080 * 480
_PIXELS = "yuv420p"
_WHITE = 235
_BAR = 1 / 20  # of the height


def is_possible(width: int, height: int, frames: int) -> bool:
    """Whether a film of that size can be made, and in a few seconds."""
    sides = (width, height)
    fits = all(MIN_SIDE <= side <= MAX_SIDE and side % 2 == 0 for side in sides)
    return fits and width * height * frames <= MAX_PIXELS


@lru_cache(maxsize=16)
def film(prompt: str, width: int, height: int, frames: int, fps: int, pod: str) -> bytes:
    """An mp4 file with H.264 of exactly this size (in pixels, even numbers) and length. Raises MissingLibrary.

    A comment in it names the pod, by which AIBrix's tests see who made it.
    """
    av = pyav()
    image = picture.draw(prompt, width, height).convert("RGB")
    drawn = av.VideoFrame.from_image(image).reformat(format=_PIXELS)
    light, *colours = [bytearray(plane) for plane in drawn.planes]
    row = drawn.planes[0].line_size
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = pod
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "32"})
        stream.width, stream.height, stream.pix_fmt = width, height, _PIXELS
        stream.thread_count = 1
        for index in range(frames):
            _grow(light, row, width, height, (index + 1) / frames)
            frame = av.VideoFrame(width, height, _PIXELS)
            for plane, content in zip(frame.planes, (light, *colours), strict=True):
                plane.update(content)
            container.mux(stream.encode(frame))
            # A frame takes a few milliseconds: let others go on.
            time.sleep(0)
        container.mux(stream.encode(None))
    return file.getvalue()


def _grow(light: bytearray, row: int, width: int, height: int, share: float) -> None:
    """Lighten the bar at the lower edge; `row` is the number of bytes of a row of pixels."""
    filled = int(width * share)
    for line in range(int(height * (1 - _BAR)), height):
        light[line * row : line * row + filled] = bytes([_WHITE]) * filled
