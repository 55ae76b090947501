"""Texts that conform: to a JSON schema, a regular expression, a grammar, a structural tag.

Not imported with the package above it: only requests that ask for structure pay for it.
"""

from .fitting import structured_ids
from .structure import Structure, json_text

__all__ = ["Structure", "json_text", "structured_ids"]
