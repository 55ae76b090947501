"""What benchmarks/compare.py asks of another server, from the command line that it gives to each `app.py`.

Those that know no max_tokens get their answer written for them: `text` is as many pieces as one stream may need.
"""

import sys
from pathlib import Path

# The folder of the others' environment: node_modules and what a server must find in a file.
FOLDER = Path(sys.prefix)
MODEL = "bench"
FIRST_TOKEN_MS, INTERVAL_MS = 100, 20
PIECE = "word "
# Streams outlast the window: half a minute of them.
STREAM_PIECES, ANSWER_PIECES = 1500, 16


def port() -> int:
    """Where to listen, on 127.0.0.1."""
    return int(sys.argv[sys.argv.index("--port") + 1])


def instant() -> bool:
    """Whether to answer without any latency (the load of plain requests), else streams are asked for."""
    return "--inter-token-latency=0" in sys.argv


def text() -> str:
    """An answer of the asked length, five characters a token."""
    return PIECE * (ANSWER_PIECES if instant() else STREAM_PIECES)


def node(package: str, script: str) -> list[str]:
    """The command that runs a script of an npm package of that environment."""
    return ["node", str(FOLDER / "node_modules" / package / script)]
