"""What the tests of engine and metrics share: settings, a clock that only moves when told, a recording observer."""

from vllm_mock.engine import EngineRequest, FixedEngine
from vllm_mock.engine.observer import NullObserver
from vllm_mock.settings import Settings


class VirtualClock:
    """Monotonic seconds under the control of the test; a power of two apart from others' rounding."""

    def __init__(self):
        self.now = 1024.0

    def __call__(self):
        return self.now


class Recorder(NullObserver):
    """An observer that keeps the events in order."""

    def __init__(self):
        self.events = []
        self.rejections = []

    def scheduled(self, handle):
        self.events.append(("scheduled", handle))

    def finished(self, handle):
        self.events.append(("finished", handle))

    def aborted(self, handle):
        self.events.append(("aborted", handle))

    def rejected(self, reason, prompts):
        self.rejections.append((reason, prompts))

    def of(self, handle):
        return [event for event, which in self.events if which is handle]


def make_settings(**values):
    """First token after 1 s, one token each 0.25 s, unless told otherwise; binary fractions add up exactly."""
    defaults = {
        "served_model_name": ["tiny"],
        "time_to_first_token": 1.0,
        "inter_token_latency": 0.25,
        "prefill_time_per_token": 0.0,
        "max_model_len": 256,
    }
    return Settings(**(defaults | values))


def make_engine(observer=None, **values):
    """An engine in virtual time, and its clock."""
    clock = VirtualClock()
    return FixedEngine(make_settings(**values), observer, clock), clock


def request(output=4, prompt=(1, 2, 3), arrival=1024.0, **fields):
    """A request for `output` tokens."""
    tokens = list(range(1000, 1000 + output))
    return EngineRequest("r", list(prompt), tokens, output, arrival=arrival, **fields)
