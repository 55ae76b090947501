"""What all workers of a server counted, told by the one that a scrape reached."""

from vllm_mock.metrics.collector import Metrics
from vllm_mock.metrics.merge import merge
from vllm_mock.metrics.page import Page, parse
from vllm_mock.shared import Peers

COMMAND = "metrics_page"


class WorkersPage:
    """The page of all workers; this one has `rank`."""

    def __init__(self, own: Metrics, peers: Peers, rank: int) -> None:
        self._own = own
        self._peers = peers
        self._rank = rank
        peers.register(COMMAND, lambda _: own.render().decode())

    def page(self) -> Page:
        """The families of all workers that answer within half a second each."""
        own = self._own.page()
        others = self._peers.ask_others(COMMAND)
        if not others:
            return own
        return merge({rank: parse(text) for rank, text in others.items()} | {self._rank: own}, self._rank)
