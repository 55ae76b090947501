"""Stored responses: the newest ones, the same for all workers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.errors import ApiError

if TYPE_CHECKING:
    from vllm_mock.shared import SharedStore

SECTION = "responses"
# vLLM keeps all of them for ever, in memory.
MOST_KEPT = 256

Stored = dict[str, Any]


class ResponseStore:
    """By id: the response, and the messages that a next response goes on from."""

    def __init__(self, store: "SharedStore") -> None:
        self._store = store

    def put(self, response: dict[str, Any], messages: list[dict[str, Any]]) -> None:
        """Keep a response, in place of the oldest one where there are too many."""
        held = {"response": response, "messages": messages}

        def add(stored: dict[str, Stored] | None) -> dict[str, Stored]:
            kept = [item for item in (stored or {}).items() if item[0] != response["id"]]
            return dict([*kept[1 - MOST_KEPT :], (response["id"], held)])

        self._store.update(SECTION, add)

    def find(self, response_id: str) -> Stored:
        """Raises ApiError, 404, for an id that is not kept."""
        stored = (self._store.get(SECTION) or {}).get(response_id)
        if stored is None:
            raise not_found(response_id)
        return stored

    def change(self, response_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Replace a kept response by what `change` makes of it; raises ApiError as find()."""

        def replace(stored: dict[str, Stored] | None) -> dict[str, Stored]:
            held = (stored or {}).get(response_id)
            if stored is None or held is None:
                raise not_found(response_id)
            return {**stored, response_id: {**held, "response": change(held["response"])}}

        return self._store.update(SECTION, replace)[response_id]["response"]


def not_found(response_id: str) -> ApiError:
    """404 as vLLM words it."""
    return refusal(404, f"Response with id '{response_id}' not found.", "response_id")


def refusal(status: int, message: str, param: str) -> ApiError:
    """An error of the Responses API's own kind."""
    return ApiError(status, message, "invalid_request_error", param)
