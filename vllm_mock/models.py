"""The names under which the model is served, and the cards of GET /v1/models."""

import random
import time

from vllm_mock.lora import Adapter, LoRAAdapters
from vllm_mock.protocol.json_text import compact
from vllm_mock.settings import Settings


class ModelRegistry:
    """Served names of the base model, of which the first is echoed and labels the metrics, and the LoRA adapters."""

    def __init__(self, settings: Settings, adapters: LoRAAdapters) -> None:
        self.names = settings.served_model_name
        self.base_name = self.names[0]
        self.adapters = adapters
        self._root = settings.model
        self._max_model_len = settings.max_model_len
        self._accept_unknown = settings.skip_model_name_validation
        self._known = frozenset(self.names)

    def resolve(self, requested: str | None) -> str | None:
        """The name to echo for a requested model, or None when there is no such model.

        A missing or empty name means the base model. With VLLM_SKIP_MODEL_NAME_VALIDATION an unknown name
        is echoed as it came.
        """
        if not requested or requested in self._known:
            return self.base_name
        if requested in self.adapters.all():
            return requested
        return requested if self._accept_unknown else None

    def adapter(self, name: str) -> Adapter | None:
        """The adapter with this name; None for the base model."""
        return None if name == self.base_name else self.adapters.all().get(name)

    def cards(self) -> str:
        """The body of GET /v1/models; `created` and the permission ids are new at every call, as in vLLM."""
        created = int(time.time())
        cards = [_card(name, created, self._root, None, self._max_model_len) for name in self.names]
        cards += [
            _card(adapter.name, created, adapter.path, adapter.base_model or self.base_name, None)
            for adapter in self.adapters.all().values()
        ]
        return compact({"object": "list", "data": cards})


def _card(name: str, created: int, root: str, parent: str | None, max_model_len: int | None) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
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
