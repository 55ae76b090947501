"""Calls as a Python list of function calls."""

import ast
from collections.abc import Sequence
from typing import Any

from .base import Call, Found, ToolFormat
from .partial_json import dumps


class Pythonic(ToolFormat):
    """`[f(a=1, b='x'), g()]`, and nothing else in the text. A call shows in a stream when it is complete."""

    marker = "["
    joined_start = True
    forces_json = True
    shows_end = True
    held = False

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return f"[{', '.join(map(_written, calls))}]"

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        calls = _read(text)
        return Found(None, calls) if calls else Found(text, [])

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        finished = _read(markup)
        if finished is not None:
            return finished
        # All calls but the one that is being written.
        end = markup.rfind("), ")
        return (_read(markup[: end + 1] + "]") if end > 0 else None) or []

    def plain_length(self, text: str) -> int:
        return 0 if text.startswith(self.marker) else len(text)


def _written(call: tuple[str, Any]) -> str:
    name, arguments = call
    pairs = arguments.items() if isinstance(arguments, dict) else ()
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in pairs)})"


def _read(text: str) -> list[Call] | None:
    """The calls of a complete list of calls with constant arguments; None for anything else."""
    try:
        body = ast.parse(text.strip(), mode="eval").body
        if not isinstance(body, ast.List):
            return None
        return [_call(element) for element in body.elts]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _call(element: ast.expr) -> Call:
    if not isinstance(element, ast.Call) or element.args:
        raise ValueError(element)
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in element.keywords}
    return Call(ast.unparse(element.func), dumps(arguments))
