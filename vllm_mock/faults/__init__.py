"""Faults on purpose: rules that make chosen requests, or the whole server, go wrong."""

from .book import Faults
from .fields import FaultError
from .injected import Injected
from .rules import Rule

__all__ = ["FaultError", "Faults", "Injected", "Rule"]
