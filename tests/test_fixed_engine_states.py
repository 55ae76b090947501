"""Any sequence of submissions, aborts, ends and waiting: the rules that hold at every moment."""

import itertools

from engine_support import Recorder, make_engine, request
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

MAX_SEQS = 3
BLOCKS = 8


class EngineMachine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(["fcfs", "priority"]), caching=st.booleans(), factor=st.sampled_from([1.0, 3.0]))
    def start(self, policy, caching, factor):
        self.recorder = Recorder()
        self.policy = policy
        self.engine, self.clock = make_engine(
            self.recorder,
            max_num_seqs=MAX_SEQS,
            num_gpu_blocks=BLOCKS,
            block_size=4,
            scheduling_policy=policy,
            enable_prefix_caching=caching,
            time_factor_under_load=factor,
        )
        self.handles = []
        self.timelines = {}

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=20),
        output=st.integers(1, 10),
        priority=st.integers(-1, 1),
        n=st.integers(1, 3),
    )
    def submit(self, prompt, output, priority, n):
        requests = [request(output, prompt, self.clock.now, priority=priority, n=n, index=index) for index in range(n)]
        self.handles += self.engine.submit_all(requests)

    @rule(quarters=st.integers(1, 12))
    def wait(self, quarters):
        self.clock.now += quarters / 4

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def abort(self, data):
        data.draw(st.sampled_from(self.handles)).abort()

    @precondition(lambda self: any(not handle.waiting for handle in self.handles))
    @rule(data=st.data())
    def finish(self, data):
        data.draw(st.sampled_from([handle for handle in self.handles if not handle.waiting])).finish()

    @rule()
    def abort_all(self):
        self.engine.abort_all()
        assert (self.engine.running, self.engine.waiting) == (0, 0)

    @invariant()
    def limits_hold(self):
        assert self.engine.running <= MAX_SEQS
        assert 0 <= self.engine.kv_cache_usage <= 1
        assert (self.engine.kv_cache_usage > 0) == (self.engine.running > 0)
        assert self.engine.running or not self.engine.waiting

    @invariant()
    def events_are_in_order_and_unique(self):
        unfinished, open_now = self.engine.running + self.engine.waiting, 0
        for handle in self.handles:
            events = self.recorder.of(handle)
            assert events in ([], ["scheduled"], ["scheduled", "finished"], ["scheduled", "aborted"], ["aborted"])
            open_now += events in ([], ["scheduled"])
        assert open_now == unfinished

    @invariant()
    def a_timeline_never_changes(self):
        for handle in self.handles:
            if handle.timeline is not None:
                assert self.timelines.setdefault(handle, handle.timeline) is handle.timeline
                assert handle.queued <= handle.scheduled <= handle.first_token_due <= handle.last_token_due

    @invariant()
    def requests_start_in_order(self):
        started = [handle for event, handle in self.recorder.events if event == "scheduled"]
        if self.policy == "fcfs":
            assert started == [handle for handle in self.handles if handle in set(started)]
        for earlier, later in itertools.pairwise(started):
            assert earlier.scheduled <= later.scheduled

    def teardown(self):
        if hasattr(self, "engine"):
            self.clock.now += 10_000
            assert (self.engine.running, self.engine.waiting, self.engine.kv_cache_usage) == (0, 0, 0.0)
            for handle in self.handles:
                assert self.recorder.of(handle)[-1] in ("finished", "aborted")


EngineMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestEngineMachine = EngineMachine.TestCase
