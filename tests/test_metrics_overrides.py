"""What POST /set_metrics accepts and what /metrics then shows, without a server."""

import time

import pytest
from engine_support import make_settings
from prometheus_client.parser import text_string_to_metric_families

from vllm_mock.metrics import Metrics
from vllm_mock.metrics.family_types import family_types
from vllm_mock.metrics.override_store import SECTION, OverrideError, Overrides
from vllm_mock.metrics.presentation import Presentation
from vllm_mock.metrics.replicas import ReplicaCount


class MemoryStore:
    """The shared store of one process."""

    def __init__(self):
        self.sections = {}

    def get(self, section):
        return self.sections.get(section)

    def update(self, section, change):
        self.sections[section] = change(self.sections.get(section))
        return self.sections[section]


class Page:
    """Presentation over one worker's metrics."""

    def __init__(self, seed=None, **values):
        settings = make_settings(**values)
        metrics = Metrics(settings)
        self.store = MemoryStore()
        self._replicas = ReplicaCount(self.store, default=1)
        types = family_types(settings.llm_engine)
        self.overrides = Overrides(self.store, types, metrics.histograms(), seed or {})
        self.presentation = Presentation(settings, metrics.page, self.overrides, self._replicas)

    def scale(self, replicas):
        self._replicas.confirm(replicas)

    def lines(self, start=""):
        return [line for line in self.presentation.render().decode().splitlines() if line.startswith(start)]

    def set(self, **document):
        self.overrides.merge(document)

    def later(self, seconds):
        """Pretend that everything was set `seconds` ago."""
        held = self.store.get(SECTION)
        self.store.sections[SECTION] = {key: {**one, "since": one["since"] - seconds} for key, one in held.items()}


LISTING = """\
# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{model_name="tiny"} %s
# HELP vllm:avg_prompt_throughput_toks_per_s Average prefill throughput in tokens/s.
# TYPE vllm:avg_prompt_throughput_toks_per_s gauge
vllm:avg_prompt_throughput_toks_per_s{model_name="tiny"} %s
# HELP vllm:avg_generation_throughput_toks_per_s Average generation throughput in tokens/s.
# TYPE vllm:avg_generation_throughput_toks_per_s gauge
vllm:avg_generation_throughput_toks_per_s{model_name="tiny"} %s
"""


@pytest.mark.parametrize(("replicas", "value"), [(1, "100.0"), (5, "20.0"), (3, "33.333333333333336")])
def test_three_families_are_shared_among_the_replicas(replicas, value):
    page = Page(metrics_mode="mock")
    page.scale(replicas)
    text = page.presentation.render().decode()
    assert text.startswith(LISTING % (value, value, value))
    for name in ("request_success_total", "avg_prompt_throughput_toks_per_s", "avg_generation_throughput_toks_per_s"):
        assert text.count(f"\nvllm:{name}{{") + text.startswith(f"vllm:{name}") == 1
    assert "request_success_created" not in text


def test_total_is_divided_and_single_values_are_not():
    page = Page(metrics_mode="mock")
    page.scale(5)
    page.set(total=50, success_total=200)
    assert page.lines("vllm:request_success_total") == ['vllm:request_success_total{model_name="tiny"} 200.0']
    assert page.lines("vllm:avg_prompt_throughput") == ['vllm:avg_prompt_throughput_toks_per_s{model_name="tiny"} 10.0']


def test_live_mode_shares_nothing_until_total_is_set():
    page = Page(metrics_mode="live")
    page.scale(2)
    assert len(page.lines("vllm:request_success_total")) == 5
    page.set(total=10)
    assert page.lines("vllm:request_success_total") == ['vllm:request_success_total{model_name="tiny"} 5.0']


@pytest.mark.parametrize(
    ("key", "series"),
    [
        ("success_total", 'vllm:request_success_total{model_name="tiny"}'),
        ("prompt_tokens_total", 'vllm:prompt_tokens_total{engine="0",model_name="tiny"}'),
        ("generation_tokens_total", 'vllm:generation_tokens_total{engine="0",model_name="tiny"}'),
        ("running", 'vllm:num_requests_running{engine="0",model_name="tiny"}'),
        ("waiting", 'vllm:num_requests_waiting{engine="0",model_name="tiny"}'),
        ("swapped", 'vllm:num_requests_swapped{engine="0",model_name="tiny"}'),
        ("avg_prompt_throughput", 'vllm:avg_prompt_throughput_toks_per_s{model_name="tiny"}'),
        ("avg_generation_throughput", 'vllm:avg_generation_throughput_toks_per_s{model_name="tiny"}'),
        ("gpu_cache_usage_perc", 'vllm:gpu_cache_usage_perc{engine="0",model_name="tiny"}'),
        ("cpu_cache_usage_perc", 'vllm:cpu_cache_usage_perc{engine="0",model_name="tiny"}'),
        ("kv_cache_usage_perc", 'vllm:kv_cache_usage_perc{engine="0",model_name="tiny"}'),
        ("vllm:num_preemptions_total", 'vllm:num_preemptions_total{engine="0",model_name="tiny"}'),
        ("vllm:cache_config_info", 'vllm:cache_config_info{engine="0",model_name="tiny"}'),
    ],
)
def test_each_key_is_one_series_with_the_value_as_given(key, series):
    page = Page(metrics_mode="mock")
    page.set(**{key: 75.0})
    assert page.lines(series.split("{")[0] + "{") == [f"{series} 75.0"]
    page.set(**{key: None})
    assert page.lines(series) != [f"{series} 75.0"]


def test_an_overridden_family_is_valid_and_there_once():
    page = Page(metrics_mode="live")
    page.set(**{"running": 3, "vllm:time_to_first_token_seconds": [0.02, 0.02, 3], "vllm:lora_requests_info": 1})
    text = page.presentation.render().decode()
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    assert text.count("# TYPE vllm:num_requests_running ") == 1


def test_older_and_newer_name_of_the_cache_usage_are_bent_together():
    page = Page(metrics_mode="live")
    page.set(gpu_cache_usage_perc=75.0)
    assert page.lines("vllm:kv_cache_usage_perc{") == ['vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 75.0']
    page.set(kv_cache_usage_perc=0.5)
    assert page.lines("vllm:kv_cache_usage_perc{") == ['vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.5']
    assert page.lines("vllm:gpu_cache_usage_perc{") == ['vllm:gpu_cache_usage_perc{engine="0",model_name="tiny"} 75.0']


def test_cpu_running_is_a_share_of_a_hundred():
    page = Page(metrics_mode="mock")
    page.set(cpu_running=250)
    assert page.lines("vllm:cpu_cache_usage_perc{")[0].endswith(" 100.0")
    page.set(cpu_running=40)
    assert page.lines("vllm:cpu_cache_usage_perc{")[0].endswith(" 40.0")
    page.set(cpu_cache_usage_perc=0.25)
    assert page.lines("vllm:cpu_cache_usage_perc{")[0].endswith(" 0.25")


def test_model_name_relabels_every_series_of_the_engine():
    page = Page(metrics_mode="mock")
    page.set(model_name='the "other"', running=1)
    lines = [line for line in page.lines("vllm:") if "model_name=" in line]
    assert len(lines) > 350
    assert all('model_name="the \\"other\\""' in line for line in lines)


def test_labels_and_several_series():
    page = Page(metrics_mode="live")
    entry = [{"value": 1, "labels": {"model_name": "a", "engine": "0"}}, {"value": 2, "labels": {"model_name": "b"}}]
    page.set(**{"vllm:num_requests_running": entry})
    assert page.lines("vllm:num_requests_running{") == [
        'vllm:num_requests_running{engine="0",model_name="a"} 1.0',
        'vllm:num_requests_running{model_name="b"} 2.0',
    ]


def test_raw_samples_are_sorted_into_the_familys_buckets():
    page = Page(metrics_mode="live")
    page.set(**{"vllm:request_params_n": [1, 2, 2, 7, 100]})
    found = [line.rsplit(" ", 1)[1] for line in page.lines("vllm:request_params_n_bucket")]
    assert found == ["1.0", "3.0", "3.0", "4.0", "4.0", "5.0"]
    assert page.lines("vllm:request_params_n_sum")[0].endswith(" 112.0")
    assert page.lines("vllm:request_params_n_count")[0].endswith(" 5.0")


def test_buckets_are_shown_as_given():
    page = Page(metrics_mode="live")
    page.set(**{"vllm:time_to_first_token_seconds": {"buckets": {"0.5": 3, "2": 4}, "sum": 2.5, "count": 6}})
    assert page.lines("vllm:time_to_first_token_seconds") == [
        'vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="tiny"} 3.0',
        'vllm:time_to_first_token_seconds_bucket{engine="0",le="2.0",model_name="tiny"} 4.0',
        'vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 6.0',
        'vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"} 6.0',
        'vllm:time_to_first_token_seconds_sum{engine="0",model_name="tiny"} 2.5',
    ]


@pytest.mark.parametrize(
    ("wave", "values"),
    [
        ("oscillate:10:90:80s", {0: 10, 20: 50, 40: 90, 60: 50, 80: 10}),
        ("ramp:0:100:1m", {0: 0, 30: 50, 60: 100, 600: 100}),
        ("rampreset:100:0:10", {0: 100, 5: 50, 12.5: 75}),
        ("squarewave:1:9:2s", {0: 1, 0.9: 1, 1.1: 9, 2.1: 1}),
    ],
)
def test_waves(wave, values):
    for seconds, expected in values.items():
        page = Page(metrics_mode="live")
        page.set(running=wave)
        page.later(seconds)
        assert float(page.lines("vllm:num_requests_running{")[0].split()[1]) == pytest.approx(expected, abs=3.5)


def test_a_wave_of_total_is_shared_as_well():
    page = Page(metrics_mode="mock")
    page.scale(4)
    page.set(total="ramp:0:400:10s")
    page.later(100)
    assert page.lines("vllm:request_success_total") == ['vllm:request_success_total{model_name="tiny"} 100.0']


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"total": "abc"}, "total"),
        ({"total": True}, "total"),
        ({"total": float("nan")}, "NaN"),
        ({"running": float("inf")}, "infinities"),
        ({"running": 10**400}, "infinities"),
        ({"running": []}, "running"),
        ({"running": {"labels": {}}}, "value"),
        ({"running": {"value": 1, "label": {}}}, "label"),
        ({"running": {"value": 1, "labels": {"a b": "c"}}}, "labels"),
        ({"running": "oscillate:1:2"}, "oscillate"),
        ({"running": "sawtooth:1:2:3s"}, "rampreset"),
        ({"running": "ramp:1:2:0s"}, "ramp"),
        ({"runing": 1}, "gpu_cache_usage_perc"),
        ({"model_name": ""}, "model_name"),
        ({"model_name": 1}, "model_name"),
        ({"vllm:request_params_n": 5}, "samples"),
        ({"vllm:request_params_n": ["a"]}, "samples"),
        ({"vllm:request_params_n": {"buckets": {"1": 5, "2": 3}}}, "cumulative"),
        ({"vllm:request_params_n": {"buckets": {"one": 5}}}, "upper bound"),
        ({"vllm:request_params_n": {"buckets": {"+Inf": 5}, "count": 4}}, "count"),
        ([], "object"),
        (None, "object"),
        ("running", "object"),
    ],
)
def test_a_refused_document_changes_nothing(document, told):
    page = Page(metrics_mode="live", seed={"waiting": 7})
    before = page.overrides.document()
    with pytest.raises(OverrideError, match=told):
        page.overrides.merge({"swapped": 1, **document} if isinstance(document, dict) else document)
    assert page.overrides.document() == before == {"waiting": 7}


def test_what_is_set_can_be_read_and_cleared():
    page = Page(seed={"running": 0}, metrics_mode="live")
    page.set(waiting="ramp:0:1:10s", running=None)
    assert page.overrides.document() == {"waiting": "ramp:0:1:10s"}
    page.overrides.clear()
    assert page.overrides.document() == {}
    # A worker that starts later does not bring the seed back.
    Overrides(page.store, family_types("vllm"), {}, {"running": 0})
    assert page.overrides.document() == {}


def test_a_seed_of_zeros_reads_as_idle_and_does_not_drift():
    page = Page(seed={"total": 0, "running": 0, "waiting": 0, "gpu_cache_usage_perc": 0}, metrics_mode="mock")
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:avg_", "vllm:gpu_cache_usage_perc")
    first = page.lines(names)
    assert {line.rsplit(" ", 1)[1] for line in first} == {"0.0"}
    time.sleep(0.01)
    assert page.lines(names) == first


@pytest.mark.parametrize(
    ("engine", "key", "series"),
    [
        ("sglang", "running", "sglang:num_running_reqs"),
        ("sglang", "waiting", "sglang:num_queue_reqs"),
        ("sglang", "gpu_cache_usage_perc", "sglang:token_usage"),
        ("sglang", "avg_generation_throughput", "sglang:gen_throughput"),
        ("sglang", "prompt_tokens_total", "sglang:prompt_tokens_total"),
        ("trtllm", "success_total", "trtllm_request_success_total"),
        ("trtllm", "gpu_cache_usage_perc", "trtllm_kv_cache_utilization"),
        ("trtllm", "running", "trtllm_num_requests_running"),
    ],
)
def test_the_same_keys_bend_other_engines(engine, key, series):
    page = Page(metrics_mode="mock", llm_engine=engine)
    page.set(**{key: 12})
    lines = page.lines(series + "{")
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["12.0"]
    assert 'model_name="tiny"' in lines[0]
    page.set(model_name="other")
    assert 'model_name="other"' in page.lines(series + "{")[0]
