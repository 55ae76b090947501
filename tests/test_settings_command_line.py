"""The syntax of the command line is that of `vllm serve`; each case was tried on vLLM 0.33.0 itself."""

import pytest
from settings_support import error_line, load

from vllm_mock.settings import LoRAModule


def test_the_model_is_the_first_argument_wherever_it_stands():
    assert load("m1").model == "m1"
    assert load("--port", "1", "m1", "--seed", "2").model == "m1"
    assert load("--seed", "2", "--", "m1").model == "m1"
    assert load("m1", "--model", "m2").model == "m1"
    assert load("--model", "m2").model == "m2"


def test_a_second_model_is_refused():
    assert error_line("m1", "m2") == "unexpected argument 'm2': the model is 'm1' already"
    assert "'m2'" in error_line("m1", "--", "m2")


@pytest.mark.parametrize("name", ["--max-model-len", "--max_model_len", "--max_model-len"])
def test_dashes_and_underscores_and_equals_signs(name):
    assert load(name, "100").max_model_len == 100
    assert load(f"{name}=100").max_model_len == 100


def test_the_last_of_repeated_flags_counts():
    assert load("--port", "8001", "--port", "8002").port == 8002
    assert load("--api-key", "a", "--api-key", "b").api_key == ["b"]


def test_an_unambiguous_beginning_of_a_name_is_enough():
    assert load("--max-model", "100").max_model_len == 100
    assert load("--enable-prefix").enable_prefix_caching is True
    line = error_line("--max-num-s", "7")
    assert line.startswith("flag --max-num-s is ambiguous, it could be")
    assert "--max-num-seqs" in line


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--enable-prefix-caching", True),
        ("--disable-prefix-caching", False),
        ("--no-enable-prefix-caching", False),
        ("--disable_prefix_caching", False),
        ("--enable-kvcache", True),
        ("--disable-kvcache", False),
    ],
)
def test_switches_named_enable(flag, value):
    assert load(flag).enable_prefix_caching is value


def test_other_switches():
    assert load("--allow-credentials").allow_credentials is True
    assert load("--allow-credentials", "--no-allow-credentials").allow_credentials is False
    assert load("--no-legacy-metrics").legacy_metrics is False
    assert load("--disable-log-stats").disable_log_stats is True
    assert load("--enable-uvicorn-access-log").enable_access_log is True
    assert load("--enable-access-log", "--disable-uvicorn-access-log").enable_access_log is False


def test_a_switch_takes_no_value():
    line = "--enable-lora takes no value; --disable-lora switches it off"
    assert error_line("--enable-lora=true") == line
    assert load("--enable-lora", "true").model == "true"


def test_a_store_true_flag_of_vllm_has_no_negation():
    assert "--no-disable-log-stats" in error_line("--no-disable-log-stats")


def test_flags_with_several_values():
    settings = load("--api-key", "k1", "k2", "--served-model-name", "a", "b")
    assert settings.api_key == ["k1", "k2"]
    assert settings.served_model_name == ["a", "b"]
    assert load("--api_key", "k1").api_key == ["k1"]
    one = load("--api-key=k1", "m")
    assert (one.api_key, one.model) == (["k1"], "m")
    assert error_line("--api-key") == "--api-key needs a value"
    assert error_line("--api-key", "--port", "1") == "--api-key needs a value"


def test_a_flag_without_its_value():
    assert error_line("--port") == "--port needs a value"
    assert error_line("--port", "--seed") == "--port needs a value"


def test_negative_numbers_and_phrases_are_values():
    assert load("--seed", "-1").seed == -1
    assert load("--max-logprobs=-1").max_logprobs == -1
    assert load("--response-role", "-a phrase").response_role == "-a phrase"


def test_short_flags():
    settings = load("-tp", "2", "-pp=3", "-dp", "4", "-ep", "-n", "2", "-r1", "-qfp8", "-O3", "-sc.model", "x", "-dph")
    parallel = (settings.tensor_parallel_size, settings.pipeline_parallel_size, settings.data_parallel_size)
    assert parallel == (2, 3, 4)
    assert settings.enable_expert_parallel is True
    assert settings.quantization == "fp8"
    assert set(settings.ignored_flags) == {
        "--nnodes",
        "--node-rank",
        "--optimization-level",
        "--speculative-config",
        "--data-parallel-hybrid-lb",
    }
    assert "-tp2" in error_line("-tp2")
    assert "'ope' is not possible" in error_line("-nope")


@pytest.mark.parametrize("words", [["-O3"], ["-O", "3"], ["-O=3"], ["--optimization-level", "O2"]])
def test_optimization_level(words):
    assert load(*words).ignored_flags == ["--optimization-level"]


def test_objects_key_by_key():
    settings = load(
        *("--kv-transfer-config.kv_role", "kv_both"),
        *("--kv_transfer_config.kv_connector=NixlConnector",),
        *("--kv-transfer-config.kv_connector_extra_config.a.b", "5"),
        *("--default-chat-template-kwargs.enable_thinking", "false"),
    )
    assert settings.kv_transfer_config == {
        "kv_role": "kv_both",
        "kv_connector": "NixlConnector",
        "kv_connector_extra_config": {"a": {"b": 5}},
    }
    assert settings.default_chat_template_kwargs == {"enable_thinking": False}


def test_lists_in_objects():
    flag = "--override-generation-config.stop"
    assert load(flag + "+", "a", flag + "+", "b,c").override_generation_config == {"stop": ["a", "b", "c"]}
    assert "stop has a value already" in error_line(flag, "a", flag + "+", "b")
    assert "stop has a value already" in error_line(flag, "a", flag + ".x", "b")


def test_keys_replace_the_whole_object():
    flag = "--default-chat-template-kwargs"
    assert load(flag, '{"a": 0, "b": 1}', flag + ".a", "x").default_chat_template_kwargs == {"a": "x"}
    assert load(flag + ".a", "x", flag, '{"b": 1}').default_chat_template_kwargs == {"a": "x"}


def test_keys_of_a_flag_that_is_no_object():
    assert error_line("--port.x", "3") == "unknown flag --port.x; the nearest known one is --port"


def test_lora_modules():
    assert load("--lora-modules", "a=b", "c=d=e").lora_modules == [LoRAModule("a", "b"), LoRAModule("c", "d=e")]
    by_json = '{"name": "a", "path": "b", "base_model_name": "m", "is_3d_lora_weight": true}'
    assert load("--lora-modules", by_json).lora_modules == [LoRAModule("a", "b", "m", True)]
    assert load("--lora-modules", f"[{by_json}]", "c=d").lora_modules[1] == LoRAModule("c", "d")
    assert load("--lora-modules", "").lora_modules == []
    assert "'foo' is not possible; expected name=path" in error_line("--lora-modules", "foo")
    assert "possible keys are name, path" in error_line("--lora-modules", '{"name": "a", "path": "b", "zz": 1}')
    assert "has name and path" in error_line("--lora-modules", '{"name": "a"}')
    assert "strings" in error_line("--lora-modules", '{"name": "a", "path": 1}')


def test_hf_token_without_a_value_leaves_the_other_sources():
    assert load("--hf-token", "t").hf_token == "t"
    assert load("--hf-token", environ={"HF_TOKEN": "e"}).hf_token == "e"
    assert load("--hf-token").hf_token is None


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--max-num-sequences", "--max-num-seqs"),
        ("--time-to-first-tokens", "--time-to-first-token"),
        ("--enable_prefix_cache", "--enable-prefix-caching"),
        ("--max-num-batched-token-count", "--max-num-batched-tokens"),
        ("--swap-space=4", "--kv-offloading-size"),
        ("--task", "--runner"),
        ("-x", "--"),
    ],
)
def test_an_unknown_flag_is_named_with_the_nearest_known_one(word, nearest):
    written = word.partition("=")[0]
    assert error_line(word).startswith(f"unknown flag {written}; the nearest known one is {nearest}")


def test_config_can_be_given_only_once(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("port: 1")
    assert error_line("--config", str(file), f"--config={file}") == "--config can be given only once"
