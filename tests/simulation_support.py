"""What the tests of the simulator share: a GPU whose steps are easy to count, and one that looks at every step."""

from vllm_mock.engine import EngineRequest
from vllm_mock.engine.handle import RUNNING
from vllm_mock.engine.observer import NullObserver
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.engine.simulated import SimulatedGPU, SimulatedHandle
from vllm_mock.engine.step_time import Batch
from vllm_mock.settings import Settings

NEVER = float("inf")


class TinyStepTime:
    """One second for a step, and a quarter for each token of a prompt: sums are exact."""

    name, origin = "tiny", "analytic"

    def __init__(self, step=1.0, prompt_token=0.25):
        self.step, self.prompt_token = step, prompt_token
        self.batches = []

    def seconds(self, batch: Batch) -> float:
        self.batches.append(batch)
        return self.step + self.prompt_token * sum(new for new, _ in batch.prefills)


class Nobody:
    """The owner of handles that nobody waits for."""

    def wait_for_start(self, handle): ...
    def finish(self, handle): ...
    def abort(self, handle): ...


def make_settings(**values):
    defaults = {
        "served_model_name": ["tiny"],
        "max_model_len": 256,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 16,
        "num_gpu_blocks": 64,
        "block_size": 4,
        "async_scheduling": False,
        "frontend_latency": 0.0,
    }
    return Settings(**(defaults | values))


class Unknown(Exception):
    """A step time that nobody knows."""


class Bench(NullObserver):
    """A SimulatedGPU in virtual time, whose rules are checked at each step."""

    def __init__(self, step_time=None, **values):
        self.settings = make_settings(**values)
        self.scheduler = Scheduler(self.settings)
        self.step_time = step_time or TinyStepTime()
        self.gpu = SimulatedGPU(self.settings, self.scheduler, self, self, self._fail)
        self.now = 0.0
        self.handles: list[SimulatedHandle] = []
        self.started: list[SimulatedHandle] = []
        self.ended: list[SimulatedHandle] = []
        self.tokens = 0
        self.preemptions = 0
        # Whether the time of the next step is unknown.
        self.fails = False

    name, origin = "checked", "analytic"

    def _fail(self, error):
        if not isinstance(error, Unknown):
            raise error

    # ---- What a test does

    def submit(self, prompt, output, **fields) -> SimulatedHandle:
        """`prompt` is its tokens, or how many there are that no other request has."""
        number = len(self.handles)
        ids = list(range(number * 1000, number * 1000 + prompt)) if isinstance(prompt, int) else list(prompt)
        request = EngineRequest(str(number), ids, range(output), output, arrival=self.now, **fields)
        self.scheduler.check_fits(request)
        handle = SimulatedHandle(Nobody(), request, self.scheduler.prompt_hashes(request))
        handle.queued = self.now
        self.handles.append(handle)
        self.gpu.advance(self.now)
        self.scheduler.queue(handle)
        self.gpu.launch(self.now)
        return handle

    def abort(self, handle):
        """As Simulator.abort."""
        self.gpu.advance(self.now)
        if handle in self.ended or handle.aborted:
            return
        handle.aborted = True
        tokens = self.gpu.remove(handle, self.now)
        self.scheduler.abort(handle, tokens)
        self.gpu.launch(self.now)

    def run_until(self, time):
        self.now = time
        self.gpu.advance(time)

    def hold(self, seconds):
        """As Simulator.pause(hold=True), and resume() later."""
        self.gpu.advance(self.now)
        self.now += seconds
        self.gpu.postpone(self.now, seconds)
        self.gpu.launch(self.now)
        self.run_until(self.now)

    def reset(self):
        """As Simulator.reset_prefix_cache(running_too=True)."""
        self.gpu.advance(self.now)
        if self.scheduler.reset_prefix_cache(running_too=True):
            self.gpu.recompute()
            self.gpu.launch(self.now)

    def run(self, most_steps=3_000):
        """To the end of all requests."""
        for _ in range(most_steps):
            if self.gpu.next_event == NEVER:
                return
            self.run_until(self.gpu.next_event)
        raise AssertionError("it never ends")

    # ---- What must hold at each step

    def seconds(self, batch: Batch) -> float:
        settings, kv = self.settings, self.scheduler.kv
        new = [chunk[0] for chunk in batch.prefills]
        assert batch.decode_requests + sum(new) <= settings.max_num_batched_tokens
        assert all(tokens > 0 for tokens in new)
        if settings.long_prefill_token_threshold:
            assert all(tokens <= settings.long_prefill_token_threshold for tokens in new)
        assert len(self.scheduler.running) <= settings.max_num_seqs
        assert 0 <= kv.used_blocks <= kv.num_blocks
        assert any(self._is_batch_of(lane, batch) for lane in self.gpu.lanes if not lane.busy)
        private = sum(handle.allocation.private for handle in self.scheduler.running)
        assert kv.used_blocks == private + len(
            {h for handle in self.scheduler.running for h in handle.allocation.hashes}
        )
        if self.fails:
            self.fails = False
            raise Unknown
        return self.step_time.seconds(batch)

    def _is_batch_of(self, lane, batch):
        decoders = [handle for handle in self.scheduler.running if handle in lane.decoders]
        # What a decoder has in the cache: all but the token that is its input now.
        contexts = [handle.num_prompt_tokens + handle.num_scheduled_tokens - 1 for handle in decoders]
        blocks = [self.scheduler.kv.blocks_for(context + 1) for context in contexts]
        assert blocks == [handle.allocation.blocks for handle in decoders]
        return (len(decoders), sum(contexts)) == (batch.decode_requests, batch.decode_context_tokens)

    def scheduled(self, handle):
        assert handle.scheduled >= handle.queued
        self.started.append(handle)

    def preempted(self, handle):
        self.preemptions += 1

    def stepped(self, at, decoders, gap, completed):
        assert (gap > 0) or not decoders
        self.tokens += decoders + len(completed)

    def finished(self, handle):
        self.ended.append(handle)

    def check_the_end(self):
        """Nothing is left behind, and every request has what it should have."""
        kv = self.scheduler.kv
        assert (kv.used_blocks, len(self.scheduler.running), len(self.scheduler.waiting)) == (0, 0, 0)
        assert not self.scheduler.running_adapters
        assert len(self.ended) == len(set(self.ended))
        for handle in self.handles:
            dues = handle.dues
            assert dues == sorted(set(dues)), "a token was doubled"
            assert (handle in self.ended) != handle.aborted
            assert handle.state != RUNNING
            if not handle.aborted:
                assert len(dues) == len(handle.request.output_token_ids), "a token was lost"
                assert handle.scheduled < dues[0]
        assert self.preemptions == sum(handle.num_preemptions for handle in self.handles)
        delivered = sum(len(handle.dues) for handle in self.handles)
        assert self.tokens == delivered
