"""The version of the model's weights, as a trainer sets it. There are no weights: only the version is kept."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm_mock.shared import SharedStore

SECTION = "weight_version"


class Weights:
    """What all workers serve."""

    def __init__(self, model: str, store: "SharedStore") -> None:
        self._model = model
        self._store = store

    @property
    def version(self) -> str | None:
        """The version that was told last; None before."""
        return self._store.get(SECTION)

    @version.setter
    def version(self, version: str | None) -> None:
        self._store.update(SECTION, lambda _: version)

    def checksums(self) -> dict[str, str]:
        """Of the one parameter that there is: another version, another value."""
        return {"model": hashlib.sha256(f"{self._model}\0{self.version}".encode("utf-8", "replace")).hexdigest()}
