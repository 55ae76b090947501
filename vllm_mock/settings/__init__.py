"""Every flag, environment variable, default and help text, once.

The table is in server.py, model.py and engine.py (what acts) and in inert.py (what a mock can ignore).
"""

from .errors import SettingsError
from .loader import load
from .settings import Settings
from .structures import LoRAModule

__all__ = ["LoRAModule", "Settings", "SettingsError", "load"]
