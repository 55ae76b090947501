"""GPT-2's byte alphabet: each byte is written as one printable character of the vocabulary.

The 188 printable bytes of Latin-1 stand for themselves; the other 68, in ascending order, are U+0100 onwards.
Source: the published encoder of GPT-2 (function bytes_to_unicode).
"""

from functools import cache


def _printable() -> list[int]:
    return [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]


@cache
def byte_to_char() -> dict[int, str]:
    """Byte value (0-255) to its vocabulary character, in GPT-2's order of token ids."""
    printable = _printable()
    others = sorted(set(range(256)) - set(printable))
    alphabet = {byte: chr(byte) for byte in printable}
    alphabet.update({byte: chr(0x100 + index) for index, byte in enumerate(others)})
    return alphabet


@cache
def char_to_byte() -> dict[str, int]:
    """The inverse of `byte_to_char`."""
    return {char: byte for byte, char in byte_to_char().items()}


def to_bytes(token: str) -> bytes:
    """The raw bytes of a vocabulary entry; one that is not in the alphabet stands for its own UTF-8 text."""
    alphabet = char_to_byte()
    try:
        return bytes([alphabet[char] for char in token])
    except KeyError:
        return token.encode()
