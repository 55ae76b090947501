"""What the page tells of the process is what Prometheus' own client for Python tells."""

import gc

import pytest
from hypothesis import given, strategies
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString

from vllm_mock.metrics.page import number, to_bytes
from vllm_mock.metrics.process import process_page


def test_families_are_those_of_prometheus_client():
    registry = CollectorRegistry()
    GCCollector(registry)
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    # A collection between the two would change what they tell.
    gc.disable()
    try:
        theirs, ours = generate_latest(registry).decode(), to_bytes(process_page()).decode()
    finally:
        gc.enable()
    assert [line.rpartition(" ")[0] for line in ours.splitlines() if line[0] != "#"] == [
        line.rpartition(" ")[0] for line in theirs.splitlines() if line[0] != "#"
    ]
    assert [line for line in ours.splitlines() if line[0] == "#"] == [
        line for line in theirs.splitlines() if line[0] == "#"
    ]
    for their, our in zip(text_string_to_metric_families(theirs), text_string_to_metric_families(ours), strict=True):
        for expected, found in zip(their.samples, our.samples, strict=True):
            # The two are taken one after the other.
            assert found.value == pytest.approx(expected.value, rel=0.1, abs=1.0), found


@given(strategies.floats() | strategies.integers(-(10**18), 10**18))
def test_numbers_are_printed_as_prometheus_client_prints_them(value: float):
    assert number(value) == floatToGoString(value)


def test_numbers_around_the_first_exponent():
    values = (999_999.0, 999_999.75, 1e6, 1_000_000.25, 12_345_678.0, 1e15, 1e16, 1e22, float("inf"), float("-inf"))
    assert list(map(number, values)) == list(map(floatToGoString, values))
    assert number(1_234_567.5) == "1.2345675e+06"
