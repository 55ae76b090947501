"""What all workers of one server share: a small store of settings, and commands that reach every worker."""

from .peers import Peers
from .store import SharedStore, shared_store

__all__ = ["Peers", "SharedStore", "shared_store"]
