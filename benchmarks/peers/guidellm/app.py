"""guidellm's mock server with the times of this benchmark: a first token after 100 ms, then one every 20 ms, or none.

It takes the port from the command line of `app.py`, and from its flags whether there is to be any latency.
"""

import os
import sys
from pathlib import Path

instant = "--inter-token-latency=0" in sys.argv
first, interval = ("0", "0") if instant else ("100", "20")
times = ["--request-latency", "0", "--ttft-ms", first, "--itl-ms", interval]
port = sys.argv[sys.argv.index("--port") + 1]
program = str(Path(sys.executable).with_name("guidellm"))
os.execv(
    program,
    [program, "mock-server", "--host", "127.0.0.1", "--port", port, "--model", "bench", "--workers", "1", *times],
)
