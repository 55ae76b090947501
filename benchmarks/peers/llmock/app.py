"""LLMock (PyPI), which answers every request with the same scripted text, a word in a chunk."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import asked
import uvicorn
from llmock.chaos import StreamChaos
from llmock.main import create_app
from llmock.scenarios import Reply

if __name__ == "__main__":
    app = create_app(stream_chaos=StreamChaos(chunk_delay_ms=0 if asked.instant() else asked.INTERVAL_MS))
    app.state.llmock.scenarios.add(Reply(text=asked.text(), times=None))
    uvicorn.run(app, host="127.0.0.1", port=asked.port(), log_level="warning", access_log=False, backlog=4096)
