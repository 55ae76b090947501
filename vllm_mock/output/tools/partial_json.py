"""JSON texts that may be unfinished."""

import json
import re
from typing import Any

_DECODER = json.JSONDecoder()
_NEXT = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')


def value_end(text: str, start: int) -> int:
    """Where the object or array that begins at `start` ends; the end of the text if it does not."""
    depth = 0
    while True:
        found = _NEXT.search(text, start)
        if found is None:
            return len(text)
        start = found.end()
        if found[0] == '"':
            start = _string_end(text, start)
        else:
            depth += 1 if found[0] in "{[" else -1
            if depth <= 0:
                return start


def _string_end(text: str, start: int) -> int:
    """Where a string ends whose characters begin at `start`."""
    while True:
        found = _IN_STRING.search(text, start)
        if found is None:
            return len(text)
        if found[0] == '"':
            return found.end()
        start = found.end() + 1


def objects(text: str) -> list[dict[str, Any]]:
    """The finished JSON objects in a text, from left to right, without those inside others."""
    found = []
    start = text.find("{")
    while start >= 0:
        try:
            value, start = _DECODER.raw_decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            start += 1
        start = text.find("{", start)
    return found


def dumps(value: Any) -> str:
    """JSON text as vLLM's parsers write it: with spaces, other alphabets as they are."""
    return json.dumps(value, ensure_ascii=False)
