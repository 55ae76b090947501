"""Writes fitted efficiencies into vllm_mock/data/devices.json."""

import json
import re
from pathlib import Path
from typing import Any

import vllm_mock
from benchmarks.fidelity.constants import Constants

DEVICES = Path(vllm_mock.__file__).parent / "data" / "devices.json"
_WIDTH = 117


def write(found: Constants, path: Path = DEVICES) -> None:
    """Replaces the efficiencies of the fitted devices, to three digits; the rest of the file stays as it is. HOST and
    HOST_IN_TURN are in roofline.py, for a person to copy.
    """
    text = path.read_text(encoding="utf-8")
    for device, values in found.efficiency.items():
        before = json.loads(text)[device]["efficiency"]
        lines = "\n".join(_lines({name: _rounded(values[name]) for name in before}))
        pattern = rf'(\n  "{device}": {{.*?"efficiency": {{\n).*?(\n    }}\n  }})'
        text = re.sub(pattern, lambda match, lines=lines: match[1] + lines + match[2], text, count=1, flags=re.DOTALL)
    json.loads(text)
    path.write_text(text, encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return float(f"{value:.3g}")


def _lines(values: dict[str, Any]) -> list[str]:
    """As many to a line as fit."""
    lines, line = [], "     "
    for name, value in values.items():
        part = f' "{name}": {json.dumps(value)},'
        if len(line) + len(part) > _WIDTH:
            lines.append(line)
            line = "     "
        line += part
    return [*lines, line.removesuffix(",")]
