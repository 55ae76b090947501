"""Values: numbers, durations, JSON, and the line that refuses an impossible one."""

import pytest
from settings_support import error_line, load

from vllm_mock.settings.parsers import REASONING_PARSERS, TOOL_PARSERS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4k", 4000),
        ("4K", 4096),
        ("1.5k", 1500),
        ("25.6k", 25600),
        ("1.0001k", 1000),
        ("1m", 10**6),
        ("1M", 2**20),
        ("1g", 10**9),
        ("1T", 2**40),
        (" 4k ", 4000),
        ("1_000", 1000),
        ("auto", 16384),
        ("AUTO", 16384),
        ("-1", 16384),
    ],
)
def test_human_integers(text, value):
    assert load("--max-model-len", text).max_model_len == value


@pytest.mark.parametrize("text", ["4kk", "4kb", "1e3", "k", "-2", "0", "4_0k", "", "1.5", "-4k"])
def test_impossible_human_integers(text):
    line = error_line("--max-model-len", text)
    assert line == (
        f"--max-model-len: {text!r} is not possible; expected an integer of 1 or more (4k = 4000, 4K = 4096) or auto"
    )


def test_decimals_need_a_lower_case_suffix():
    assert "(decimals need a lower-case suffix, as in 1.5k)" in error_line("--max-model-len", "1.5K")


def test_human_integers_only_where_vllm_takes_them():
    assert load("--max-num-batched-tokens", "4k").max_num_batched_tokens == 4000
    assert load("--max-num-queued-tokens", "4K").max_num_queued_tokens == 4096
    assert load("--max-num-scheduled-tokens", "4k", "--kv-cache-memory-bytes", "4G").model
    assert "'4k'" in error_line("--max-num-seqs", "4k")
    assert "'4k'" in error_line("--num-gpu-blocks-override", "4k")
    assert "'4k'" in error_line("--max-num-queued-reqs", "4k")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("20", 0.020),
        ("0.75", 0.00075),
        ("750us", 0.00075),
        ("750µs", 0.00075),
        ("20ms", 0.020),
        ("1.5s", 1.5),
        ("1.5 s", 1.5),
        (".5ms", 0.0005),
        ("5.ms", 0.005),
        ("2m", 120.0),
        ("250ns", 250e-9),
        ("1e-1ms", 0.0001),
    ],
)
def test_durations(text, seconds):
    assert load("--inter-token-latency", text).inter_token_latency == seconds
    assert load(f"--time-to-first-token={text}").time_to_first_token == seconds


@pytest.mark.parametrize("text", ["-1", "-1ms", "nan", "inf", "1e400", "20 parsecs", "ms", "", "1s2"])
def test_impossible_durations(text):
    assert error_line(f"--inter-token-latency={text}") == (
        f"--inter-token-latency: {text!r} is not possible; expected a duration of 0 or more, "
        "such as 750us, 20ms or 1.5s (a plain number is in milliseconds)"
    )


DURATIONS = [
    "time_to_first_token",
    "time_to_first_token_std_dev",
    "inter_token_latency",
    "inter_token_latency_std_dev",
    "prefill_overhead",
    "prefill_time_per_token",
    "prefill_time_std_dev",
    "kv_cache_transfer_latency",
    "kv_cache_transfer_time_per_token",
    "request_duration",
    "latency_jitter",
    "overload_penalty",
]


@pytest.mark.parametrize("dest", DURATIONS)
def test_every_latency_flag_is_in_milliseconds(dest):
    assert getattr(load("--" + dest.replace("_", "-"), "3"), dest) == 0.003


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port", "99999"], "--port: '99999' is not possible; expected an integer from 0 to 65535"),
        (["--port", "x"], "--port: 'x' is not possible; expected an integer from 0 to 65535"),
        (["--max-num-seqs", "0"], "--max-num-seqs: '0' is not possible; expected an integer of 1 or more"),
        (["--seed", "1.0"], "--seed: '1.0' is not possible; expected an integer"),
        (["--max-logprobs", "-2"], "--max-logprobs: '-2' is not possible; expected an integer of -1 or more"),
        (["--stream-interval", "0"], "--stream-interval: '0' is not possible; expected an integer of 1 or more"),
        (
            ["--max-num-queued-reqs", "-1"],
            "--max-num-queued-reqs: '-1' is not possible; expected an integer of 0 or more, or None",
        ),
        (
            ["--gpu-memory-utilization", "0"],
            "--gpu-memory-utilization: '0' is not possible; expected a number above 0, at most 1",
        ),
        (
            ["--time-factor-under-load", "0.5"],
            "--time-factor-under-load: '0.5' is not possible; expected a number of 1.0 or more",
        ),
        (["--mode", "loud"], "--mode: 'loud' is not possible; expected one of random, echo"),
        (
            ["--scheduling_policy", "lifo"],
            "--scheduling-policy: 'lifo' is not possible; expected one of fcfs, priority",
        ),
        (
            ["--max-lora-rank", "65"],
            "--max-lora-rank: '65' is not possible; expected one of 1, 8, 16, 32, 64, 128, 256, 320, 512",
        ),
        (
            ["--runner", "x"],
            "--runner: 'x' is not possible; expected one of auto, draft, generate, pooling",
        ),
        (["--api-server-count", "x"], "--api-server-count: 'x' is not possible; expected an integer"),
    ],
)
def test_an_impossible_value_names_flag_value_and_range(words, expected):
    assert error_line(*words) == expected


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(text):
    assert "is not possible" in error_line(f"--time-factor-under-load={text}")
    assert "is not possible" in error_line(f"--output-tokens-mean={text}")


def test_json_values_are_checked():
    assert load("--allowed-origins", '["*"]').allowed_origins == ["*"]
    line = error_line("--allowed-origins", "*")
    assert line == (
        "--allowed-origins: '*' is not possible (Expecting value at character 1); "
        """expected a JSON list of strings, such as '["*"]'"""
    )
    assert "a JSON list of strings" in error_line("--allowed-methods", "[1]")
    assert "a JSON object" in error_line("--override-generation-config", "[1]")
    assert "character 2" in error_line("--kv-transfer-config", "{bad")
    assert "nested too deeply" in error_line("--hf-overrides", '{"a":' * 100_000)
    assert "--compilation-config" in error_line("-cc", "3").replace("-cc", "--compilation-config")


def test_a_long_value_is_shortened_in_the_error():
    assert len(error_line("--default-chat-template-kwargs", "[" * 5000)) < 200


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('{"kv_connector": "X"}', "kv_connector needs a kv_role, one of kv_producer, kv_consumer, kv_both"),
        ('{"kv_connector": "X", "kv_role": "foo"}', "kv_role must be one of kv_producer, kv_consumer, kv_both"),
        ('{"kv_port": "foo"}', "kv_port must be int"),
        ('{"kv_port": true}', "kv_port must be int"),
        ('{"foo": 1}', "unknown key 'foo', the keys are kv_connector, engine_id,"),
        ('{"kv_role": 1}', "kv_role must be str or null"),
    ],
)
def test_kv_transfer_config_is_checked(value, reason):
    assert reason in error_line("--kv-transfer-config", value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('{"publisher": "zzz"}', "publisher must be null or zmq"),
        ('{"zz": 1}', "unknown key 'zz'"),
        ('{"buffer_steps": "x"}', "buffer_steps must be int"),
    ],
)
def test_kv_events_config_is_checked(value, reason):
    assert reason in error_line("--kv-events-config", value)


def test_kv_configurations_as_in_aibrix():
    events = '{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5557","topic":"kv-events"}'
    assert load("--kv-events-config", events).kv_events_config["topic"] == "kv-events"
    role = load("--kv-transfer-config", '{"kv_connector":"NixlConnector","kv_role":"kv_both"}').kv_transfer_config
    assert role == {"kv_connector": "NixlConnector", "kv_role": "kv_both"}


def test_histogram_buckets_ascend():
    flag = "--custom-histogram-buckets"
    assert load(flag, '{"request_latency": [0.5, 1]}').custom_histogram_buckets == {"request_latency": [0.5, 1]}
    for bounds in ("[2, 1]", "[1, 1]", "[]", '["a"]', "1", "[true]"):
        assert "ascending numbers" in error_line(flag, f'{{"x": {bounds}}}')


def test_none_and_the_empty_text_stand_for_no_value():
    for absent in ("", "None"):
        settings = load(
            *("--host", absent, "--chat-template", absent, "--max-num-queued-reqs", absent, "--api-key", absent),
            *("--num-gpu-blocks-override", absent, "--served-model-name", absent),
            *("--kv-transfer-config", absent, "--disable-access-log-for-endpoints", absent),
        )
        assert settings.host is settings.chat_template is settings.max_num_queued_reqs is None
        assert settings.kv_transfer_config is None
        assert settings.api_key == settings.disable_access_log_for_endpoints == []
        assert settings.num_gpu_blocks == 65536
        assert settings.served_model_name == ["llama2-7b"]


def test_comma_separated_paths():
    assert load("--disable-access-log-for-endpoints", "/a, /b,").disable_access_log_for_endpoints == ["/a", "/b"]


def test_server_capacity_zero_is_unlimited():
    assert load("--server-capacity", "0").server_capacity is None
    assert load("--server-capacity", "4").server_capacity == 4


def test_kv_cache_size_is_the_number_of_blocks():
    assert load("--kv-cache-size", "100").num_gpu_blocks == 100
    assert load("--num-gpu-blocks-override", "100").num_gpu_blocks == 100


def test_one_batch_limit_moves_the_default_of_the_other():
    few = load("--max-num-batched-tokens", "100")
    assert (few.max_num_seqs, few.max_num_batched_tokens) == (100, 100)
    many = load("--max-num-seqs", "20000")
    assert (many.max_num_seqs, many.max_num_batched_tokens) == (20000, 20000)
    assert error_line("--max-num-seqs", "200", "--max-num-batched-tokens", "100") == (
        "--max-num-batched-tokens 100 is not possible; expected at least --max-num-seqs, 200"
    )


def test_a_step_without_chunks_has_room_for_the_longest_prompt():
    whole = ("--no-enable-chunked-prefill", "--max-model-len", "10000")
    assert load(*whole).max_num_batched_tokens == 10000
    assert load(*whole[:1], "--max-model-len", "100").max_num_batched_tokens == 8192
    assert error_line(*whole, "--max-num-batched-tokens", "9k") == (
        "--max-num-batched-tokens 9000 is not possible without chunked prefill; expected at least --max-model-len, "
        "10000"
    )


def test_flags_that_need_each_other():
    line = "--enable-auto-tool-choice requires --tool-call-parser"
    assert error_line("--enable-auto-tool-choice") == line
    assert load("--enable-auto-tool-choice", "--tool-call-parser", "hermes").enable_auto_tool_choice


def test_parsers_that_vllm_does_not_have():
    auto = ("--enable-auto-tool-choice", "--tool-call-parser")
    assert error_line(*auto, "nope").startswith(
        "--tool-call-parser nope is not possible; expected one of apertus, beam"
    )
    assert error_line("--reasoning-parser", "hermes").startswith("--reasoning-parser hermes is not possible; expected")
    for name in TOOL_PARSERS:
        assert load(*auto, name).tool_call_parser == name
    for name in REASONING_PARSERS:
        assert load("--reasoning-parser", name).reasoning_parser == name
    # vLLM does not look at a parser that is not switched on, and a plugin may bring any.
    assert load("--tool-call-parser", "nope").tool_call_parser == "nope"
    assert load(*auto, "mine", "--tool-parser-plugin", "mine.py").tool_call_parser == "mine"
    assert load("--reasoning-parser", "mine", "--reasoning-parser-plugin", "mine.py").reasoning_parser == "mine"


def test_loras_on_the_cpu_are_no_fewer_than_those_in_a_batch():
    assert "expected at least --max-loras, 4" in error_line("--enable-lora", "--max-loras", "4", "--max-cpu-loras", "2")
    assert load("--max-loras", "4", "--max-cpu-loras", "2").max_cpu_loras == 2


def test_structured_outputs():
    assert load("--structured-outputs-config.backend", "guidance").structured_outputs_config == {"backend": "guidance"}
    for value, reason in (
        ('{"backend": "magic"}', "backend must be one of auto, xgrammar, guidance, outlines, lm-format-enforcer"),
        ('{"disable_any_whitespace": true}', "disable_any_whitespace is only supported for xgrammar and guidance"),
        ('{"disable_additional_properties": true}', "disable_additional_properties is only supported for the guidance"),
        ('{"nonsense": 1}', "unknown key 'nonsense'"),
    ):
        assert reason in error_line("--structured-outputs-config", value)
