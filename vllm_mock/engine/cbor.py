"""Canonical CBOR (RFC 8949) of the values that block hashes are made of: text, bytes, whole numbers, tuples, None."""

from collections.abc import Sequence

_UNSIGNED, _BYTES, _TEXT, _ARRAY = 0x00, 0x40, 0x60, 0x80
_NULL = b"\xf6"
# They take some megabytes.
_MOST_NUMBERS = 50_000


def canonical_cbor(value: object) -> bytes:
    """The encoding of `value`; raises TypeError for anything else."""
    if isinstance(value, int) and value >= 0:
        return _head(_UNSIGNED, value)
    if isinstance(value, bytes):
        return _head(_BYTES, len(value)) + value
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return _head(_TEXT, len(data)) + data
    if isinstance(value, tuple):
        return _head(_ARRAY, len(value)) + b"".join(map(canonical_cbor, value))
    if value is None:
        return _NULL
    raise TypeError(f"no CBOR for {type(value).__name__}")


class BlockSerializer:
    """canonical_cbor((parent, token_ids, keys)) in a quarter of the time, for parents and blocks of fixed sizes."""

    def __init__(self, parent_size: int, block_size: int) -> None:
        self._before_parent = _head(_ARRAY, 3) + _head(_BYTES, parent_size)
        self._before_ids = _head(_ARRAY, block_size)
        self._number = _Numbers().__getitem__

    def __call__(self, parent: bytes, token_ids: Sequence[int], keys: object) -> bytes:
        parts = (self._before_parent, parent, self._before_ids, *map(self._number, token_ids), canonical_cbor(keys))
        return b"".join(parts)


class _Numbers(dict[int, bytes]):
    """The encodings of numbers that were met before."""

    def __missing__(self, number: int) -> bytes:
        if len(self) >= _MOST_NUMBERS:
            self.clear()
        self[number] = encoded = canonical_cbor(number)
        return encoded


def _head(kind: int, number: int) -> bytes:
    """The kind of an item and its number (a value or a length), in as few bytes as it takes."""
    if number < 24:
        return bytes((kind | number,))
    for code, size in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * size:
            return bytes((kind | code,)) + number.to_bytes(size, "big")
    return bytes((kind | 27,)) + number.to_bytes(8, "big")
