"""uvicorn (uvloop, httptools) and Starlette doing what baseline/app.py does: the same bytes on the same schedule.

It takes the port from the command line of `app.py` and ignores all other flags.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

FIRST_TOKEN_SECONDS = 0.1
INTERVAL_SECONDS = 0.02
HEAD = b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,"model":"bench",'
ANSWER = (
    HEAD + b'"choices":[{"index":0,"message":{"role":"assistant","content":"Once upon a time there was a server that '
    b'answered before it was asked."},"finish_reason":"length"}],'
    b'"usage":{"prompt_tokens":20,"completion_tokens":16,"total_tokens":36}}'
)
CHUNK = (
    b"data: " + HEAD + b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null,'
    b'"token_ids":null}],"kv_transfer_params":null}\n\n'
)


async def chunks(count: int) -> AsyncIterator[bytes]:
    """`count` tokens on an absolute schedule; overdue ones leave together."""
    due = time.monotonic() + FIRST_TOKEN_SECONDS
    while count:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        fresh = max(1, min(count, int((time.monotonic() - due) / INTERVAL_SECONDS) + 1))
        yield CHUNK * fresh
        due += fresh * INTERVAL_SECONDS
        count -= fresh
    yield b"data: [DONE]\n\n"


async def chat(request: Request) -> Response:
    """A stream or a whole answer."""
    asked = json.loads(await request.body())
    if asked["stream"]:
        return StreamingResponse(chunks(asked["max_tokens"]), media_type="text/event-stream")
    return Response(ANSWER, media_type="application/json")


async def health(request: Request) -> Response:
    """Always well."""
    return PlainTextResponse("")


app = Starlette(routes=[Route("/health", health), Route("/v1/chat/completions", chat, methods=["POST"])])

if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, backlog=4096)
