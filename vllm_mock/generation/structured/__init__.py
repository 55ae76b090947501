"""Texts that conform: to a JSON schema, a regular expression, a grammar, a structural tag.

Not imported with the package above it: only requests that ask for structure pay for it.
"""

from .fitting import structured_ids
from .json_text import json_text
from .structure import Structure

__all__ = ["Structure", "json_text", "structured_ids"]
