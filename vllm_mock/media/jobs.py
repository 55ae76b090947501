"""Jobs that make films: what was asked for, and how far one is at a given time."""

import math
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from vllm_mock.shared import SharedStore

EXPIRY_SECONDS = 3600
_MOST_JOBS = 200
_SECTION = "videos"


@dataclass(slots=True)
class Job:
    """One film. `size` is width and height in pixels; `created`, `begun` and `done` are in monotonic seconds.

    `epoch` is what makes Unix seconds of them: the clock may be set while a job runs.
    """

    id: str
    model: str
    prompt: str
    size: list[int]
    frames: int
    fps: int
    quality: str
    created: float
    begun: float
    done: float
    pod: str
    remixed_from: str | None = None
    epoch: float = 0.0

    @property
    def seconds(self) -> int:
        """The length of the film, rounded up."""
        return math.ceil(self.frames / self.fps)

    @property
    def size_text(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"

    def status(self, now: float) -> str:
        if now < self.begun:
            return "queued"
        return "in_progress" if now < self.done else "completed"

    def progress(self, now: float) -> int:
        """How much is done, 0..100."""
        if now >= self.done:
            return 100
        return max(0, int(100 * (now - self.begun) / (self.done - self.begun)))

    def view(self, now: float) -> dict[str, Any]:
        """The job as vllm-omni shows one, keys in its order, and the pod as AIBrix does."""
        completed = now >= self.done
        return {
            "model": self.model,
            "prompt": self.prompt,
            "id": self.id,
            "object": "video",
            "status": self.status(now),
            "size": self.size_text,
            "progress": self.progress(now),
            "seconds": str(self.seconds),
            "quality": self.quality,
            "completed_at": int(self.epoch + self.done) if completed else None,
            "created_at": int(self.epoch + self.created),
            "remixed_from_video_id": self.remixed_from,
            "error": None,
            "media_type": "video/mp4",
            "expires_at": int(self.epoch + self.created) + EXPIRY_SECONDS,
            "file_name": f"{self.id}.mp4" if completed else None,
            "inference_time_s": self.done - self.begun if completed else None,
            "stage_durations": {},
            "peak_memory_mb": 0.0,
            "mock_pod": self.pod,
        }


def new_id() -> str:
    return f"video_{uuid.uuid4().hex}"


class Jobs:
    """The jobs of all workers, the oldest first; each is forgotten after an hour."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    def add(self, job: Job) -> None:
        def added(jobs: dict[str, Any] | None) -> dict[str, Any]:
            kept = {key: value for key, value in (jobs or {}).items() if not _expired(value, job.created)}
            return dict([*kept.items(), (job.id, asdict(job))][-_MOST_JOBS:])

        self._store.update(_SECTION, added)

    def get(self, job_id: str) -> Job | None:
        found = self._all().get(job_id)
        return None if found is None or _expired(found, time.monotonic()) else Job(**found)

    def all(self) -> list[Job]:
        now = time.monotonic()
        return [Job(**job) for job in self._all().values() if not _expired(job, now)]

    def remove(self, job_id: str) -> None:
        self._store.update(_SECTION, lambda jobs: {key: value for key, value in (jobs or {}).items() if key != job_id})

    def _all(self) -> dict[str, Any]:
        return self._store.get(_SECTION) or {}


def _expired(job: dict[str, Any], now: float) -> bool:
    return now >= job["created"] + EXPIRY_SECONDS
