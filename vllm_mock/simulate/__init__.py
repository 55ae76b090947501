"""The offline twin of the simulator: a trace of requests through the same scheduler and step times, in virtual time."""

from vllm_mock.simulate.results import RequestResult, Sample
from vllm_mock.simulate.run import simulate
from vllm_mock.simulate.trace import TraceError, TraceRequest, read_trace

__all__ = ["RequestResult", "Sample", "TraceError", "TraceRequest", "read_trace", "simulate"]
