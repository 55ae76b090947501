"""Canonical CBOR (RFC 8949) of the values that block hashes are made of: text, bytes, whole numbers, tuples, None."""

_UNSIGNED, _BYTES, _TEXT, _ARRAY = 0x00, 0x40, 0x60, 0x80
_NULL = b"\xf6"
_FEW = 3
# Some megabytes.
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
        # Token ids are by far the most items.
        if len(value) > _FEW and type(value[0]) is int:
            return _head(_ARRAY, len(value)) + b"".join(map(_numbers.__getitem__, value))
        return _head(_ARRAY, len(value)) + b"".join(map(canonical_cbor, value))
    if value is None:
        return _NULL
    raise TypeError(f"no CBOR for {type(value).__name__}")


class _Numbers(dict[int, bytes]):
    """The encodings of numbers that were met before."""

    def __missing__(self, number: int) -> bytes:
        if len(self) >= _MOST_NUMBERS:
            self.clear()
        self[number] = encoded = canonical_cbor(number)
        return encoded


_numbers = _Numbers()


def _head(kind: int, number: int) -> bytes:
    """The kind of an item and its number (a value or a length), in as few bytes as it takes."""
    if number < 24:
        return bytes((kind | number,))
    for code, size in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * size:
            return bytes((kind | code,)) + number.to_bytes(size, "big")
    return bytes((kind | 27,)) + number.to_bytes(8, "big")
