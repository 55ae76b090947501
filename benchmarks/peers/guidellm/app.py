"""guidellm's mock server with the times of this benchmark, without its access log.

Not by its command line: that imports the whole of guidellm, torch included, and always writes the log.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
import asked
from guidellm.mock_server import MockServer
from guidellm.schemas.mock_server import MockServerConfig

times = {"request_latency": 0.0, "ttft_ms": 0.0, "itl_ms": 0.0}
if not asked.instant():
    times |= {"ttft_ms": float(asked.FIRST_TOKEN_MS), "itl_ms": float(asked.INTERVAL_MS)}

if __name__ == "__main__":
    # As many tokens as a request asks for, not 128 at most.
    config = MockServerConfig(
        host="127.0.0.1", port=asked.port(), model=asked.MODEL, output_tokens=asked.STREAM_PIECES, **times
    )
    MockServer(config).run(access_log=False)
