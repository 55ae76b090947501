"""Errors of a long list that is validated in pieces: those that are told, and the number of the others."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from vllm_mock.protocol.errors import MAX_LISTED_ERRORS

_FURTHER = "further"


class LongErrors:
    """A client may cause millions: pydantic would take seconds to describe them."""

    def __init__(self) -> None:
        self._told: list[InitErrorDetails] = []
        self._count = 0

    def add(self, error: ValidationError, start: int) -> None:
        """What was found in the piece that begins at that place of the list."""
        self._count += error.error_count()
        missing = MAX_LISTED_ERRORS - len(self._told)
        if missing > 0:
            self._told += [_moved(one, start) for one in error.errors(include_url=False)[:missing]]

    def raise_any(self, title: str) -> None:
        """Raises ValidationError if there are any."""
        more = self._count - len(self._told)
        if more:
            kind = PydanticCustomError(_FURTHER, "and {count} more", {"count": more})
            self._told.append(InitErrorDetails(type=kind, input=None))
        if self._told:
            raise ValidationError.from_exception_data(title, self._told)


def described(error: ValidationError) -> tuple[list[Any], int]:
    """The errors as pydantic describes them, and how many more there are."""
    found = error.errors(include_url=False)
    further = [one["ctx"]["count"] for one in found if one["type"] == _FURTHER]
    return ([one for one in found if one["type"] != _FURTHER], sum(further)) if further else (found, 0)


def _moved(error: Any, start: int) -> InitErrorDetails:
    first, *rest = error["loc"]
    details = InitErrorDetails(type=error["type"], loc=(first + start, *rest), input=error["input"])
    if "ctx" in error:
        details["ctx"] = error["ctx"]
    return details
