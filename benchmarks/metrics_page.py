"""What /metrics of a server says now."""

import urllib.request


class Page:
    """A scrape of /metrics."""

    def __init__(self, port: int) -> None:
        self._samples: dict[str, float] = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line and not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    self._samples[name] = float(value)

    def total(self, name: str, *labels: str) -> float:
        """The sum of the samples of this name whose labels contain all of `labels`."""
        return sum(
            value
            for key, value in self._samples.items()
            if key.partition("{")[0] == name and all(label in key for label in labels)
        )
