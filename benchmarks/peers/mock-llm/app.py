"""mock-llm (npm): one rule for every request, a word in a chunk, a chunk every 20 ms."""

import json
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import asked

choice = {"index": 0, "message": {"role": "assistant", "content": asked.text()}, "finish_reason": "stop"}
usage = {"prompt_tokens": 20, "completion_tokens": asked.ANSWER_PIECES, "total_tokens": 20 + asked.ANSWER_PIECES}
answer = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": asked.MODEL, "choices": [choice]}
rule = {
    "path": "/v1/chat/completions",
    "method": "POST",
    "match": "@",
    "response": {"status": 200, "content": json.dumps({**answer, "usage": usage})},
}
streaming = {"chunkSize": len(asked.PIECE), "chunkIntervalMs": asked.INTERVAL_MS}
# JSON is YAML as well.
config = asked.FOLDER / "mock-llm.yaml"
config.write_text(json.dumps({"streaming": streaming, "rules": [rule]}))
command = [*asked.node("@dwmkerr/mock-llm", "dist/main.js"), "--config", str(config)]
os.execvpe(command[0], command, {**os.environ, "HOST": "127.0.0.1", "PORT": str(asked.port())})
