"""The engine over time, in as many points as a picture can show."""

from vllm_mock.simulate.results import Sample

MOST_POINTS = 4000


class Timeline:
    """Takes a Sample of each step and keeps an even choice of them; `steps` and `tokens` count all."""

    def __init__(self, most: int = MOST_POINTS) -> None:
        self.points: list[Sample] = []
        self.steps = self.tokens = 0
        self.most_running = self.most_waiting = 0
        self.highest_kv_usage = 0.0
        self._most = most
        self._every = 1

    def take(self, sample: Sample) -> None:
        """One more step."""
        if self.steps % self._every == 0:
            self.points.append(sample)
            if len(self.points) >= self._most:
                del self.points[1::2]
                self._every *= 2
        self.steps += 1
        self.tokens += sample.tokens
        self.most_running = max(self.most_running, sample.running)
        self.most_waiting = max(self.most_waiting, sample.waiting)
        self.highest_kv_usage = max(self.highest_kv_usage, sample.kv_usage)
