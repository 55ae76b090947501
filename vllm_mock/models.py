"""The names under which the model is served, and the cards of GET /v1/models."""

import random
import time

from vllm_mock.protocol.json_text import compact


class ModelRegistry:
    """Served names of the base model: the first is echoed in answers and labels the metrics."""

    def __init__(self, names: list[str], root: str, max_model_len: int, accept_unknown: bool) -> None:
        self.names = names
        self.base_name = names[0]
        self._root = root
        self._max_model_len = max_model_len
        self._accept_unknown = accept_unknown
        self._known = frozenset(names)

    def resolve(self, requested: str | None) -> str | None:
        """The name to echo for a requested model, or None when there is no such model.

        A missing or empty name means the base model. With VLLM_SKIP_MODEL_NAME_VALIDATION an unknown name
        is echoed as it came.
        """
        if not requested or requested in self._known:
            return self.base_name
        return requested if self._accept_unknown else None

    def cards(self) -> str:
        """The body of GET /v1/models; `created` and the permission ids are new at every call, as in vLLM."""
        created = int(time.time())
        cards = [self._card(name, created) for name in self.names]
        return compact({"object": "list", "data": cards})

    def _card(self, name: str, created: int) -> dict[str, object]:
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "vllm",
            "root": self._root,
            "parent": None,
            "max_model_len": self._max_model_len,
            "permission": [_permission(created)],
        }


def _permission(created: int) -> dict[str, object]:
    return {
        "id": f"modelperm-{random.getrandbits(64):016x}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
