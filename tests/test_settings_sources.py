"""Where settings come from: environment, YAML, config.json, and which of them wins."""

import socket

import pytest
from settings_support import error_line, load

import vllm_mock.settings


def yaml_file(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_command_line_over_environment_over_yaml_over_default(tmp_path):
    path = yaml_file(tmp_path, "port: 1\nmodel: y\ntime-to-first-token: 1\nseed: 7\n")
    environ = {"SERVER_PORT": "2", "MODEL_NAME": "e", "MOCK_TTFT_BASE_SECONDS": "2"}
    everything = load("--config", path, "--port", "3", "c", "--time-to-first-token", "3", environ=environ)
    assert (everything.port, everything.model, everything.time_to_first_token) == (3, "c", 0.003)
    without_flags = load("--config", path, environ=environ)
    assert (without_flags.port, without_flags.model, without_flags.time_to_first_token) == (2, "e", 2.0)
    only_yaml = load("--config", path)
    assert (only_yaml.port, only_yaml.model, only_yaml.time_to_first_token, only_yaml.seed) == (1, "y", 0.001, 7)
    nothing = load()
    assert (nothing.port, nothing.model, nothing.time_to_first_token, nothing.seed) == (8000, "llama2-7b", 0.030, 0)


def test_given_names_what_is_no_default(tmp_path):
    path = yaml_file(tmp_path, "seed: 0\n")
    settings = load("--config", path, "--block-size", "16", environ={"SERVER_PORT": "8000"})
    assert settings.given == {"seed", "block_size", "port"}


@pytest.mark.parametrize(
    ("variable", "text", "dest", "value"),
    [
        ("MODEL_NAME", "m", "model", "m"),
        ("SERVER_PORT", "20001", "port", 20001),
        ("DEPLOYMENT_NAME", "d", "deployment_name", "d"),
        ("POD_NAME", "p", "pod_name", "p"),
        ("HOSTNAME", "h", "pod_name", "h"),
        ("POD_NAMESPACE", "n", "pod_namespace", "n"),
        ("STANDALONE_MODE", "true", "standalone_mode", True),
        ("STANDALONE_MODE", "False", "standalone_mode", False),
        ("DEFAULT_REPLICAS", "5", "default_replicas", 5),
        ("SIMULATION", "a100", "simulation", "a100"),
        ("SIMULATION", "disabled", "simulation", ""),
        ("SIMULATION", "", "simulation", ""),
        ("LLM_ENGINE", "sglang", "llm_engine", "sglang"),
        ("METRICS_OVERRIDES", '{"running": 0}', "metrics_overrides", {"running": 0}),
        ("VLLM_API_KEY", "k", "api_key", ["k"]),
        ("VLLM_SKIP_MODEL_NAME_VALIDATION", "1", "skip_model_name_validation", True),
        ("VLLM_SERVER_DEV_MODE", "1", "server_dev_mode", True),
        ("HF_TOKEN", "t", "hf_token", "t"),
        ("VLLM_MAX_N_SEQUENCES", "9", "max_n_sequences", 9),
        ("VLLM_MAX_STOP_STRINGS", "9", "max_stop_strings", 9),
        ("VLLM_MAX_COMPLETION_PROMPTS", "9", "max_completion_prompts", 9),
        ("MOCK_REQUEST_DURATION_SECONDS", "1.5", "request_duration", 1.5),
        ("MOCK_TTFT_BASE_SECONDS", "0.2", "time_to_first_token", 0.2),
        ("MOCK_TTFT_BASE_SECONDS", "20ms", "time_to_first_token", 0.02),
        ("MOCK_PREFILL_SECONDS_PER_1K_TOKENS", "0.5", "prefill_time_per_token", 0.0005),
        ("MOCK_DECODE_SECONDS_PER_TOKEN", "0.0003", "inter_token_latency", 0.0003),
        ("MOCK_LATENCY_JITTER_SECONDS", "0.01", "latency_jitter", 0.01),
        ("MOCK_SERVER_CAPACITY", "8", "server_capacity", 8),
        ("MOCK_OVERLOAD_PENALTY_SECONDS", "0.1", "overload_penalty", 0.1),
    ],
)
def test_environment_variables(variable, text, dest, value):
    settings = load(environ={variable: text})
    assert getattr(settings, dest) == value
    assert settings.warnings == []


def test_the_pod_is_named_by_its_variable_then_the_host():
    assert load(environ={"POD_NAME": "p", "HOSTNAME": "h"}).pod_name == "p"
    assert load(environ={"POD_NAME": "", "HOSTNAME": "h"}).pod_name == "h"
    assert load().pod_name == socket.gethostname()


def test_an_empty_variable_counts_as_unset():
    settings = load(environ={"SERVER_PORT": "", "MODEL_NAME": " ", "VLLM_API_KEY": "", "METRICS_OVERRIDES": ""})
    assert (settings.port, settings.model, settings.api_key) == (8000, "llama2-7b", [])
    assert settings.metrics_overrides == {}


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("SERVER_PORT", "tcp://10.0.0.1:80", "expected an integer from 0 to 65535"),
        ("STANDALONE_MODE", "maybe", "expected true or false"),
        ("DEFAULT_REPLICAS", "0", "expected an integer of 1 or more"),
        ("METRICS_OVERRIDES", "[1]", "expected a JSON object"),
        ("MOCK_TTFT_BASE_SECONDS", "-1", "a plain number is in seconds"),
        ("MOCK_SERVER_CAPACITY", "x", "expected an integer of 0 or more (0: unlimited)"),
        ("VLLM_MAX_N_SEQUENCES", "0", "expected an integer of 1 or more"),
    ],
)
def test_a_bad_variable_is_named(variable, text, expected):
    line = error_line(environ={variable: text})
    assert line.startswith(f"environment variable {variable}: {text!r} is not possible")
    assert expected in line


def test_unknown_mock_variables_are_reported():
    settings = load(environ={"MOCK_TTFT_SECONDS": "1", "MOCK_TTFT_BASE_SECONDS": "1", "MOCKERY": "1"})
    assert settings.warnings == [
        "environment variable MOCK_TTFT_SECONDS is unknown; the nearest known one is MOCK_TTFT_BASE_SECONDS"
    ]


def test_service_links_of_kubernetes_are_no_settings():
    links = {
        "MOCK_LLAMA2_7B_SERVICE_HOST": "10.0.0.1",
        "MOCK_LLAMA2_7B_SERVICE_PORT": "8000",
        "MOCK_LLAMA2_7B_SERVICE_PORT_HTTP": "8000",
        "MOCK_LLAMA2_7B_PORT": "tcp://10.0.0.1:8000",
        "MOCK_LLAMA2_7B_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=links).warnings == []


def test_yaml(tmp_path):
    path = yaml_file(
        tmp_path,
        """
        max-model-len: 4k
        enable-prefix-caching: false
        enable_lora: true
        disable-fastapi-docs: false
        api-key: [k1, 2]
        served-model-name:
          - a
          - b
        kv-transfer-config:
          kv_connector: NixlConnector
          kv_role: kv_both
        lora-modules:
          - {name: x, path: /x}
          - y=/y
        allowed-origins: ["*"]
        inter-token-latency: 0.25
        chat-template: null
        trust-remote-code: false
        dtype: bfloat16
        hf-overrides: {a: 1}
        """,
    )
    settings = load("--config", path)
    assert settings.max_model_len == 4000
    assert settings.enable_prefix_caching is False
    assert settings.enable_lora is True
    assert settings.disable_fastapi_docs is False
    assert settings.api_key == ["k1", "2"]
    assert settings.served_model_name == ["a", "b"]
    assert settings.kv_transfer_config == {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
    assert [module.path for module in settings.lora_modules] == ["/x", "/y"]
    assert settings.allowed_origins == ["*"]
    assert settings.inter_token_latency == 0.00025
    assert "chat_template" not in settings.given
    assert settings.ignored_flags == ["--dtype", "--hf-overrides"]


def test_switches_in_yaml_work_by_either_name(tmp_path):
    for text, value in [
        ("disable-prefix-caching: true", False),
        ("disable-prefix-caching: false", True),
        ("no_enable_prefix_caching: true", False),
        ("enable-prefix-caching: true", True),
    ]:
        assert load("--config", yaml_file(tmp_path, text)).enable_prefix_caching is value


def test_an_empty_yaml_file_sets_nothing(tmp_path):
    assert load("--config", yaml_file(tmp_path, "# nothing\n")).given == frozenset()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max-num-seq: [1]", "key 'max-num-seq': '[1]' is not possible; expected an integer of 1 or more"),
        ("prt: 1", "unknown key 'prt'; the nearest known one is port"),
        ("config: a.yaml", "key 'config' is for the command line alone"),
        ("help: true", "key 'help' is for the command line alone"),
        ("max-num-s: 1", "flag --max-num-s is ambiguous"),
        ("port: x", "key 'port': 'x' is not possible; expected an integer from 0 to 65535"),
        ("port: true", "key 'port': 'true' is not possible"),
        ("enable-lora: often", "key 'enable-lora': 'often' is not possible; expected true or false"),
        ("model: {a: 1}", """key 'model': '{"a": 1}' is not possible; expected a text"""),
        ("api-key: [{a: 1}]", "key 'api-key'"),
        ("inter-token-latency: .nan", "key 'inter-token-latency': 'nan' is not possible"),
        ("runner: x", "key 'runner': 'x' is not possible"),
        ("- 1", "expected keys with values"),
        ("a: [", "is not valid YAML"),
        ("port: 1\nport : : 2", "is not valid YAML"),
    ],
)
def test_a_bad_yaml_file_is_named_with_its_key(tmp_path, text, reason):
    path = yaml_file(tmp_path, text)
    line = error_line("--config", path)
    assert line.startswith(path)
    assert reason in line


def test_a_yaml_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "none.yaml"
    assert error_line("--config", str(path)) == f"--config {path}: No such file or directory"
    path.write_bytes(b"\xff\xfe\xff")
    assert "is not valid YAML" in error_line("--config", str(path))


def test_config_json(tmp_path):
    path = tmp_path / "config.json"
    for content, token in [
        ('{"huggingface_token": "t"}', "t"),
        ('{"huggingface_token": "your huggingface token"}', None),
        ('{"huggingface_token": ""}', None),
        ('{"huggingface_token": null}', None),
        ("{}", None),
    ]:
        path.write_text(content)
        assert load(config_json=path).hf_token == token
    path.write_text('{"huggingface_token": "t"}')
    assert load(config_json=path, environ={"HF_TOKEN": "e"}).hf_token == "e"
    assert load("--hf-token", "c", config_json=path, environ={"HF_TOKEN": "e"}).hf_token == "c"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"huggingface_token": 5}', "\ufeff{}"])
def test_a_broken_config_json_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert error_line(config_json=path).startswith(str(path))


def test_the_committed_config_json_holds_no_token():
    assert vllm_mock.settings.load([], {}).hf_token is None


def test_the_metrics_mode_follows_the_simulation():
    assert load().metrics_mode == "mock"
    assert load(environ={"SIMULATION": "a100"}).metrics_mode == "live"
    assert load(environ={"SIMULATION": "disabled"}).metrics_mode == "mock"
    assert load("--metrics-mode", "mock", environ={"SIMULATION": "a100"}).metrics_mode == "mock"


def test_the_served_name_is_the_model_unless_given(tmp_path):
    assert load("/models/x").served_model_name == ["/models/x"]
    assert load(environ={"MODEL_NAME": "m"}).served_model_name == ["m"]
    assert load("/models/x", "--served-model-name", "a", "b").served_model_name == ["a", "b"]
    assert "expected the name of a model" in error_line("")
    assert "expected the name of a model" in error_line("--model", "")


def test_secrets_stay_out_of_the_repr():
    text = repr(load("--api-key", "secret-1", environ={"HF_TOKEN": "secret-2"}))
    assert "secret-" not in text
    assert "port=8000" in text


def test_settings_cannot_be_changed_and_know_their_names():
    settings = load()
    with pytest.raises(AttributeError, match="port"):
        settings.port = 1
    with pytest.raises(TypeError, match="prot"):
        vllm_mock.settings.Settings(prot=1)
    assert vllm_mock.settings.Settings(port=1).port == 1


def test_loads_do_not_share_lists():
    load().allowed_methods.append("X")
    assert load().allowed_methods == ["*"]
