"""What is known of the openai package's types is what the package has."""

import gzip
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openai.types.responses as openai_types
import pytest
from pydantic import TypeAdapter, ValidationError
from server import ROOT

from vllm_mock.protocol.openai_types import checked

DATA = ROOT / "vllm_mock" / "data" / "openai_types.json.gz"
TOOL: Any = TypeAdapter(openai_types.Tool)
ITEMS: list[Any] = [
    {"role": "user", "content": [{"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AA=="}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "why"}]},
    {"type": "item_reference", "id": "msg_1"},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "rain"}]},
    {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "x"}},
]
TOOLS: list[Any] = [
    {"type": "function", "name": "f", "parameters": None, "strict": None, "async": True},
    {"type": "web_search", "user_location": {"type": "approximate", "city": "Oslo"}},
    {"type": "mcp", "server_label": "x", "require_approval": "never"},
    {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}},
]


def test_the_data_is_of_the_installed_package(tmp_path: Path) -> None:
    # vLLM 0.33.0 was recorded with the version that requirements-dev.txt names.
    assert json.loads(gzip.decompress(DATA.read_bytes()))["openai"] == version("openai")
    written = tmp_path / "types.json.gz"
    subprocess.run([sys.executable, "scripts/openai_types.py", written], cwd=ROOT, check=True, capture_output=True)
    assert written.read_bytes() == DATA.read_bytes()


@pytest.mark.parametrize("item", ITEMS)
def test_items_are_taken(item: Any) -> None:
    assert item.items() <= checked("item", item).items()


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_have_all_their_fields(tool: Any) -> None:
    assert checked("tool", tool) == TOOL.validate_python(tool).model_dump(by_alias=True)


@pytest.mark.parametrize(
    "tool", [5, {}, {"type": "function"}, {"type": "mcp", "server_label": 5}, {"type": "shell", "environment": 3}]
)
def test_faults_of_tools_are_the_packages(tool: Any) -> None:
    with pytest.raises(ValidationError) as expected:
        TOOL.validate_python(tool, from_attributes=True)
    with pytest.raises(ValidationError) as found:
        checked("tool", tool)
    faults = [[(each["type"], each["msg"]) for each in error.value.errors()] for error in (expected, found)]
    assert faults[0] == faults[1]
