"""The http_* families."""

from engine_support import make_settings

from vllm_mock.metrics import Metrics


def page(*requests):
    metrics = Metrics(make_settings())
    for one in requests:
        metrics.http.observe(*one)
    lines = metrics.render().decode().splitlines()
    return [line for line in lines if "http_" in line and "_created" not in line and not line.startswith("# HELP")]


def test_families_are_there_from_the_start():
    lines = page()
    assert [line for line in lines if line.startswith("#")] == [
        "# TYPE http_requests_total counter",
        "# TYPE http_request_size_bytes summary",
        "# TYPE http_response_size_bytes summary",
        "# TYPE http_request_duration_highr_seconds histogram",
        "# TYPE http_request_duration_seconds histogram",
    ]
    assert "http_request_duration_highr_seconds_count 0.0" in lines
    assert 'http_request_duration_highr_seconds_bucket{le="0.01"} 0.0' in lines


def test_requests_count_by_route_method_and_class_of_status():
    lines = page(
        ("/v1/models", "GET", 200, 0, 50, 0.004),
        ("/v1/completions", "POST", 200, 100, 200, 0.2),
        ("/v1/completions", "POST", 400, 30, 40, 0.004),
        ("/v1/completions", "POST", 404, 30, 40, 0.7),
        ("none", "GET", 404, 0, 22, 0.001),
    )
    for line in (
        'http_requests_total{handler="/v1/models",method="GET",status="2xx"} 1.0',
        'http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 1.0',
        'http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 2.0',
        'http_requests_total{handler="none",method="GET",status="4xx"} 1.0',
        'http_request_size_bytes_count{handler="/v1/completions"} 3.0',
        'http_request_size_bytes_sum{handler="/v1/completions"} 160.0',
        'http_response_size_bytes_sum{handler="/v1/completions"} 280.0',
        'http_request_duration_seconds_bucket{handler="/v1/completions",le="0.1",method="POST"} 1.0',
        'http_request_duration_seconds_bucket{handler="/v1/completions",le="0.5",method="POST"} 2.0',
        'http_request_duration_seconds_bucket{handler="/v1/completions",le="+Inf",method="POST"} 3.0',
        'http_request_duration_seconds_count{handler="/v1/completions",method="POST"} 3.0',
        "http_request_duration_highr_seconds_count 5.0",
        'http_request_duration_highr_seconds_bucket{le="0.01"} 3.0',
    ):
        assert line in lines


def test_parameters_of_a_route_are_written_as_vllm_does():
    lines = page(
        ("/v1/responses/<response_id>", "GET", 404, 0, 0, 0.1), ("/v1/models/<path:model>", "GET", 200, 0, 0, 0.1)
    )
    assert 'http_request_size_bytes_count{handler="/v1/responses/{response_id}"} 1.0' in lines
    assert 'http_request_size_bytes_count{handler="/v1/models/{model}"} 1.0' in lines


def test_probes_and_scrapes_do_not_count():
    paths = ("/metrics", "/health", "/load", "/ping", "/version", "/server_info", "/v1/load_lora_adapter")
    lines = page(*((path, "GET", 200, 0, 0, 0.1) for path in paths))
    assert "http_request_duration_highr_seconds_count 0.0" in lines
    assert not [line for line in lines if "handler=" in line]
