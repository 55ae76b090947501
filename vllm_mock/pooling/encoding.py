"""Vectors as bytes: the number formats and byte orders that `embed_dtype` and `endianness` name."""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise

# Mantissa bits and exponent bias of the formats of one byte.
_MINIFLOATS = {"fp8_e4m3": (3, 7), "fp8_e5m2": (2, 15)}
# Codes of finite numbers end here (e4m3 has no infinity, but one code that is no number).
_LAST_FINITE = {"fp8_e4m3": 0x7E, "fp8_e5m2": 0x7B}


def to_bytes(vector: Sequence[float], dtype: str = "float32", endianness: str = "native") -> bytes:
    """The numbers one after the other, each rounded to the nearest that the format has."""
    order = sys.byteorder if endianness == "native" else endianness
    numbers = _FORMATS[dtype](vector)
    if order != sys.byteorder:
        numbers.byteswap()
    return numbers.tobytes()


def single(vector: Sequence[float]) -> array:
    """The vector in 32-bit numbers."""
    return array("f", vector)


def _half(vector: Sequence[float]) -> array:
    return array("H", struct.pack(f"{len(vector)}e", *vector))


def _brain(vector: Sequence[float]) -> array:
    """The upper halves of 32-bit numbers, rounded to the nearest, ties to even."""
    bits = array("I", array("f", vector).tobytes())
    return array("H", [(one + 0x7FFF + (one >> 16 & 1)) >> 16 for one in bits])


def _mini(dtype: str) -> Callable[[Sequence[float]], array]:
    values = [_mini_value(code, *_MINIFLOATS[dtype]) for code in range(_LAST_FINITE[dtype] + 1)]
    middles = [(low + high) / 2 for low, high in pairwise(values)]

    def encode(vector: Sequence[float]) -> array:
        return array("B", [_mini_code(abs(one), middles) | (0x80 if one < 0 else 0) for one in vector])

    return encode


def _mini_value(code: int, mantissa_bits: int, bias: int) -> float:
    exponent, mantissa = code >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
    if exponent == 0:
        return mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return (1 + mantissa / (1 << mantissa_bits)) * 2.0 ** (exponent - bias)


def _mini_code(size: float, middles: Sequence[float]) -> int:
    """The number of middles below: the code of the nearest value, of the even one of two."""
    code = bisect_left(middles, size)
    return code + 1 if code < len(middles) and middles[code] == size and code % 2 else code


_FORMATS: dict[str, Callable[[Sequence[float]], array]] = {
    "float32": single,
    "float16": _half,
    "bfloat16": _brain,
    **{dtype: _mini(dtype) for dtype in _MINIFLOATS},
}


def bits(vector: Sequence[float]) -> bytes:
    """One bit per number, set for those above 0, the first of each byte highest; the last byte is filled with 0."""
    text = "".join("1" if one > 0 else "0" for one in vector)
    length = -(-len(text) // 8)
    return int(text.ljust(8 * length, "0"), 2).to_bytes(length, "big")
