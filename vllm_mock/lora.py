"""LoRA adapters that are loaded: the same for all workers, changed while the server runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.settings import SettingsError

if TYPE_CHECKING:
    from vllm_mock.settings import Settings
    from vllm_mock.shared import SharedStore

SECTION = "lora_adapters"
# AIBrix's tests ask for these paths when they mean an adapter that is not there; no path is ever opened.
MISSING = ("nonexistent", "/invalid/")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A loaded adapter; `id` is vLLM's lora_int_id, from 1 on."""

    name: str
    path: str
    id: int
    base_model: str | None = None


class LoRAAdapters:
    """Loads and unloads adapters by name. A path is only a label: there are no weights to read."""

    def __init__(self, settings: "Settings", store: "SharedStore") -> None:
        """Those of --lora-modules are there from the start; raises SettingsError when one cannot be loaded."""
        self._store = store
        self._base_names = settings.served_model_name
        self._raw: Any = None
        self._adapters: dict[str, Adapter] = {}
        first = self._first(settings)
        store.update(SECTION, lambda known: first if known is None else known)

    def all(self) -> dict[str, Adapter]:
        """Every loaded adapter by name, in the order in which they were loaded."""
        raw = self._store.get(SECTION)
        if raw is not self._raw:
            self._adapters = {name: Adapter(name, **fields) for name, fields in raw["adapters"].items()}
            self._raw = raw
        return self._adapters

    def load(self, name: str, path: str, *, in_place: bool = False) -> str:
        """Returns what is to be said of it.

        Raises ApiError as vLLM refuses: 400 without name or path, or for a taken name; 404 for a missing adapter.
        """
        success = f"Success: LoRA adapter '{name}' added successfully."
        try:
            success.encode()
        except UnicodeEncodeError as no_text:
            raise ApiError.bad_request(str(no_text)) from None
        self._store.update(SECTION, lambda state: self._with(state, name, path, in_place=in_place))
        return success

    def unload(self, name: str) -> None:
        """Raises ApiError: 400 without a name, 404 for one that is not loaded. What runs under it goes on."""
        if not name:
            raise _invalid("'lora_name' needs to be provided to unload a LoRA adapter.")

        def remove(state: dict[str, Any]) -> dict[str, Any]:
            if name not in state["adapters"]:
                raise ApiError.not_found(f"The lora adapter '{name}' cannot be found.")
            left = {other: fields for other, fields in state["adapters"].items() if other != name}
            return {**state, "adapters": left}

        self._store.update(SECTION, remove)

    def _first(self, settings: "Settings") -> dict[str, Any]:
        state: dict[str, Any] = {"last_id": 0, "adapters": {}}
        try:
            for module in settings.lora_modules:
                state = self._with(state, module.name, module.path, base_model=module.base_model_name)
        except ApiError as refusal:
            raise SettingsError(f"--lora-modules: {refusal}") from None
        return state

    def _with(
        self, state: dict[str, Any], name: str, path: str, *, in_place: bool = False, base_model: str | None = None
    ) -> dict[str, Any]:
        """The state with one adapter more, or with another path for a loaded one. Raises ApiError."""
        if not name or not path:
            raise _invalid("Both 'lora_name' and 'lora_path' must be provided.")
        if name in self._base_names:
            raise _invalid(f"The lora adapter '{name}' conflicts with a served base model.")
        known = state["adapters"].get(name)
        if known is not None and not in_place:
            text = "If you want to load the adapter in place, set 'load_inplace' to True."
            raise _invalid(f"The lora adapter '{name}' has already been loaded. {text}")
        if any(part in path for part in MISSING):
            raise ApiError.not_found(f"Loading lora {name} failed: No adapter found for {path}")
        number = state["last_id"] + 1 if known is None else known["id"]
        # A base model that is not served is no parent.
        fields = {"path": path, "id": number, "base_model": base_model if base_model in self._base_names else None}
        return {"last_id": max(number, state["last_id"]), "adapters": {**state["adapters"], name: fields}}


def _invalid(message: str) -> ApiError:
    return ApiError(400, message, "InvalidUserInput")
