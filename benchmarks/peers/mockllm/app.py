"""mockllm (PyPI), which streams one text a character at a time, with pauses of 20 ms give or take a half."""

import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import asked

# A pause is a tenth of a second divided by the factor.
settings = {"lag_enabled": not asked.instant(), "lag_factor": 100 / asked.INTERVAL_MS}
answer = asked.text() if asked.instant() else asked.text()[: asked.STREAM_PIECES]
# JSON is YAML as well.
responses = asked.FOLDER / "mockllm.yml"
responses.write_text(json.dumps({"defaults": {"unknown_response": answer}, "settings": settings}))
os.environ["MOCKLLM_RESPONSES_FILE"] = str(responses)

import uvicorn  # noqa: E402
from mockllm.server import app  # noqa: E402

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=asked.port(), log_level="warning", access_log=False, backlog=4096)
