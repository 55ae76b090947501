"""JSON texts that may be unfinished."""

import json
import re
from typing import Any

_DECODER = json.JSONDecoder()
_NEXT = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def value_end(text: str, start: int) -> int:
    """Where the object or array that begins at `start` ends; the end of the text if it does not."""
    depth = 0
    while True:
        found = _NEXT.search(text, start)
        if found is None:
            return len(text)
        start = found.end()
        if found[0] == '"':
            string = _STRING.match(text, found.start())
            if string is None:
                return len(text)
            start = string.end()
        else:
            depth += 1 if found[0] in "{[" else -1
            if depth <= 0:
                return start


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
