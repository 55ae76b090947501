"""The sizes of pictures, as texts: WIDTHxHEIGHT in pixels."""

import re

from vllm_mock.protocol.errors import ApiError

MAX_SIDE = 4096
_TOLD_CHARS = 100
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")


def parse_size(size: str) -> tuple[int, int]:
    """Width and height in pixels. Raises ApiError."""
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ApiError.bad_request("size must be WIDTHxHEIGHT, as in 1024x1024.", "size", size[:_TOLD_CHARS])
    width, height = int(match[1]), int(match[2])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ApiError.bad_request(f"Width and height must be between 1 and {MAX_SIDE} pixels.", "size", size)
    return width, height
