"""aimock (npm, once llmock): one fixture for every request, a word in a chunk, a fixed pause before each chunk."""

import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import asked

fixtures = asked.FOLDER / "aimock.json"
fixture = {"match": {"userMessage": "Hello"}, "response": {"content": asked.text()}}
fixtures.write_text(json.dumps({"fixtures": [fixture]}))
command = asked.node("@copilotkit/aimock", "dist/cli.js")
command += ["--host", "127.0.0.1", "--port", str(asked.port()), "--fixtures", str(fixtures), "--log-level", "silent"]
pause = 0 if asked.instant() else asked.INTERVAL_MS
os.execvp(command[0], [*command, "--chunk-size", str(len(asked.PIECE)), "--latency", str(pause)])
