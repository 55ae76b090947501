"""Prints the trace of docs/simulator.md: ten minutes of chats with a rush of two minutes.

usage: python benchmarks/peak_trace.py > peak.jsonl
"""

import json
import random

SECONDS = 600
SYSTEM_PROMPT_TOKENS = 600


def rate(second: float) -> float:
    """Requests per second."""
    if second < 120:
        return 0.8
    return 2.4 if second < 240 else 0.5


def main() -> None:
    draw, second = random.Random(7), 0.0
    while (second := second + draw.expovariate(rate(second))) < SECONDS:
        prompt = int(min(3500, max(60, draw.lognormvariate(6.3, 0.7))))
        output = int(min(1500, max(8, draw.lognormvariate(5.4, 0.7))))
        request = {"arrival": round(second, 3), "prompt_tokens": prompt, "output_tokens": output}
        if draw.random() < 0.6:
            request["prompt_tokens"] += SYSTEM_PROMPT_TOKENS
            request |= {"prefix_id": "assistant", "prefix_tokens": SYSTEM_PROMPT_TOKENS}
        print(json.dumps(request))


if __name__ == "__main__":
    main()
