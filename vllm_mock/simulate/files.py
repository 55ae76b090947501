"""What a simulation leaves in its folder."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vllm_mock.simulate.results import RequestResult


def write_results(results: Sequence[RequestResult], folder: Path, *, as_csv: bool) -> Path:
    """One line per request: requests.jsonl, or requests.csv, which has the mean of the gaps in place of them all."""
    rows = _rows(results)
    if not as_csv:
        path = folder / "requests.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return path
    path = folder / "requests.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for row in rows:
            del row["itl_seconds"]
            if writer is None:
                writer = csv.DictWriter(file, row.keys())
                writer.writeheader()
            writer.writerow(row)
    return path


def _rows(results: Sequence[RequestResult]) -> Iterator[dict[str, Any]]:
    for number, result in enumerate(results):
        request, came = result.request, bool(result.token_times)
        yield {
            "id": number if request.id is None else request.id,
            "arrival": result.arrival,
            "prompt_tokens": request.prompt_tokens,
            "output_tokens": request.output_tokens,
            "cached_tokens": result.cached_tokens,
            "queue_seconds": result.queue_seconds if came else None,
            "ttft_seconds": result.ttft_seconds if came else None,
            "tpot_seconds": result.tpot_seconds if came else None,
            "e2e_seconds": result.e2e_seconds if came else None,
            "preemptions": result.preemptions,
            "refused": result.refused,
            "itl_seconds": [round(gap, 9) for gap in result.itl_seconds],
        }
