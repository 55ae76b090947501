"""Texts that conform: to a JSON schema, a regular expression, a grammar, a structural tag.

Nothing here is imported with the package: only requests that ask for structure pay for it.
"""

from .json_text import json_text

__all__ = ["json_text"]
