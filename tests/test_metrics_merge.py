"""Pages of several workers as one page."""

from prometheus_client.parser import text_string_to_metric_families

from vllm_mock.metrics.merge import merge
from vllm_mock.metrics.page import parse, to_bytes

PAGE = """# HELP python_info Platform.
# TYPE python_info gauge
python_info{{version="3"}} {info}
# HELP vllm:prompt_tokens_total Prompt tokens.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{{engine="{rank}",model_name="m"}} {tokens}
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{{handler="/v1/models",method="GET",status="2xx"}} {requests}
# HELP http_requests_created Requests.
# TYPE http_requests_created gauge
http_requests_created{{handler="/v1/models",method="GET",status="2xx"}} {created}
"""


def merged(own_rank: int) -> dict[str, dict[tuple, float]]:
    pages = {
        1: PAGE.format(rank=1, info=11, tokens=70, requests=4, created=200.5),
        0: PAGE.format(rank=0, info=10, tokens=5, requests=3, created=100.5),
    }
    page = merge({rank: parse(text) for rank, text in pages.items()}, own_rank)
    families = text_string_to_metric_families(to_bytes(page).decode())
    return {
        sample.name: {tuple(sorted(s.labels.items())): s.value for s in family.samples if s.name == sample.name}
        for family in families
        for sample in family.samples
    }


def test_series_of_engines_stand_beside_each_other_in_the_order_of_ranks():
    tokens = merged(own_rank=1)["vllm:prompt_tokens_total"]
    assert list(tokens.items()) == [
        ((("engine", "0"), ("model_name", "m")), 5),
        ((("engine", "1"), ("model_name", "m")), 70),
    ]


def test_series_without_an_engine_are_added_up_but_not_their_creation_times():
    found = merged(own_rank=0)
    assert list(found["http_requests_total"].values()) == [7]
    assert list(found["http_requests_created"].values()) == [100.5]


def test_what_describes_a_process_is_the_answering_workers():
    assert list(merged(own_rank=1)["python_info"].values()) == [11]
    assert list(merged(own_rank=0)["python_info"].values()) == [10]
