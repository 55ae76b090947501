"""The table: every flag of vLLM 0.33.0 is known, defaults are as documented, and so are help and docs."""

import json
import re
import typing
from pathlib import Path
from types import NoneType, UnionType

import pytest
from settings_support import error_line, load

from vllm_mock.settings import docs, help
from vllm_mock.settings.catalogue import names
from vllm_mock.settings.inert import inert_flags
from vllm_mock.settings.settings import Settings, acting_flags

CAPTURE = Path(__file__).parent / "contract" / "all_flags.txt"
_LINE = re.compile(
    r"(?P<names>-.*?) \| default=(?P<default>.*?) \| nargs=(?P<nargs>\S+)"
    r" \| type=(?P<type>.*) \| choices=(?P<choices>.*)"
)


def captured_flags():
    """vLLM's own dump of its parser, one match per option."""
    matches = (_LINE.fullmatch(line) for line in CAPTURE.read_text(encoding="utf-8").splitlines())
    return [match.groupdict() for match in matches if match]


FLAGS = captured_flags()
# Values for types that say nothing about what fits.
_VALUES = {
    "int": ["1"],
    "float": ["0.5"],
    "human_readable_int": ["4k"],
    "human_readable_int_or_auto": ["4k", "auto"],
    "_parse_type": ["{}"],
    "parse_dataclass": ["{}"],
    "union_dict_and_str": ["{}", "cpu"],
    "_optional_type": ["None", ""],
}


def values_of(flag):
    """Values that vLLM accepts for a captured flag."""
    if flag["names"] == "--reasoning-parser":
        return ["qwen3"]  # vLLM looks at the name later, when it loads the parser
    if flag["choices"] != "None":
        return re.findall(r"'([^']*)'", flag["choices"])
    if flag["type"] == "loads":
        return ["[]" if flag["names"].startswith("--allowed") else "{}"]
    return _VALUES.get(flag["type"], ["text"])


def command_lines(flag):
    """Each name of a captured flag, with each of its values."""
    for name in flag["names"].split(", "):
        if flag["nargs"] == "0":
            yield [name]
            continue
        for value in values_of(flag):
            yield [name, value]
            yield [f"{name}={value}"]
            if name.startswith("--"):
                yield [name.replace("-", "_").replace("__", "--", 1), value]


def test_the_capture_is_complete():
    assert len(FLAGS) == 321


# Tests of their own ask for help and for a file of flags.
TAKEN = [flag for flag in FLAGS if flag["names"] not in ("-h, --help", "--config")]


@pytest.mark.parametrize("flag", TAKEN, ids=lambda flag: flag["names"].split(", ")[0])
def test_every_flag_of_vllm_is_accepted(flag):
    needed = ["--tool-call-parser", "hermes"] if "auto-tool" in flag["names"] else []
    for words in command_lines(flag):
        settings = load(*words, *needed)
        known, _ = names()[words[0].partition("=")[0].replace("_", "-")]
        assert settings.ignored_flags == ([] if known.acts else [known.name])


def test_several_values_where_vllm_takes_several():
    for flag in FLAGS:
        name = flag["names"].split(", ")[0]
        if flag["nargs"] == "+" and name != "--lora-modules":
            value = values_of(flag)[0]
            assert load(name, value, value, "--seed", "3").seed == 3
        if flag["nargs"] == "None" and name not in ("--config",):
            assert load(name, values_of(flag)[0], "the-model").model == "the-model"


def test_all_names_of_the_table_are_vllms_or_our_own():
    captured = {name for flag in FLAGS for name in flag["names"].split(", ")}
    inert = {name for flag in inert_flags() for name in flag.names}
    assert inert - captured == {"-O"}
    own = {flag.name for flag in acting_flags() if flag.names and flag.name not in captured}
    assert own == {
        "--enable-access-log",
        *("--protect-admin", "--failure-injection-rate", "--failure-types"),
        *("--max-request-bytes", "--request-read-timeout", "--response-write-timeout"),
        "--startup-duration",
        "--llm-engine",
        "--mode",
        "--output-tokens-mean",
        "--output-tokens-std-dev",
        "--max-waiting-queue-length",
        "--metrics-mode",
        "--legacy-metrics",
        "--server-capacity",
        "--time-factor-under-load",
        *("--" + name.replace("_", "-") for name in ("request_duration", "latency_jitter", "overload_penalty")),
        *("--time-to-first-token", "--time-to-first-token-std-dev"),
        *("--inter-token-latency", "--inter-token-latency-std-dev"),
        *("--prefill-overhead", "--prefill-time-per-token", "--prefill-time-std-dev"),
        *("--pd-contract", "--pd-role"),
        *("--kv-cache-transfer-latency", "--kv-cache-transfer-latency-std-dev"),
        *("--kv-cache-transfer-time-per-token", "--kv-cache-transfer-time-std-dev"),
        "--kv-events-format",
        *("--time-scale", "--frontend-latency"),
        *("--step-time", "--vidur-profiles", "--simulation-cache", "--prepare-simulation", "--time-limit"),
        *("--replica-config-device", "--replica-config-model-name"),
    }


# Where vLLM asks the model or the hardware, or AIBrix's defaults rule.
_OTHER_DEFAULTS = {
    *("model", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "num_gpu_blocks", "block_size"),
    *("enable_chunked_prefill", "enable_prefix_caching", "enable_lora", "api_key", "served_model_name", "lora_modules"),
    *("default_chat_template_kwargs", "custom_histogram_buckets", "disable_access_log_for_endpoints"),
    *("structured_outputs_config", "profiler_config", "async_scheduling"),
}


def test_other_defaults_are_vllms():
    captured = {name: flag["default"] for flag in FLAGS for name in flag["names"].split(", ")}
    compared = [flag for flag in acting_flags() if flag.names and flag.name in captured]
    differing = {flag.dest for flag in compared if repr(flag.default) != captured[flag.name]}
    assert differing == _OTHER_DEFAULTS


def test_defaults():
    settings = load()
    expected = {
        "time_to_first_token": 0.030,
        "prefill_time_per_token": 20e-6,
        "inter_token_latency": 0.010,
        "time_factor_under_load": 1.0,
        "max_num_seqs": 1024,
        "max_num_batched_tokens": 8192,
        "max_model_len": 16384,
        "num_gpu_blocks": 65536,
        "block_size": 16,
        "gpu_memory_utilization": 0.92,
        "enable_prefix_caching": True,
        "seed": 0,
        "shutdown_timeout": 0,
        "output_tokens_mean": 128.0,
        "output_tokens_std_dev": 64.0,
        "metrics_mode": "mock",
        "legacy_metrics": True,
        "enable_access_log": False,
        "max_n_sequences": 16384,
        "max_stop_strings": 4,
        "max_completion_prompts": 1024,
        "deployment_name": "llama2-7b",
        "pod_namespace": "default",
        "default_replicas": 1,
        "server_capacity": None,
        "simulation": "",
        "mode": "random",
        "max_logprobs": 20,
    }
    assert {name: getattr(settings, name) for name in expected} == expected


def test_values_have_the_declared_types():
    settings = load(environ={"HF_TOKEN": "t"})
    for dest, declared in typing.get_type_hints(Settings).items():
        options = typing.get_args(declared) if isinstance(declared, UnionType) else (declared,)
        allowed = tuple(typing.get_origin(option) or option for option in options)
        value = getattr(settings, dest)
        assert type(value) in allowed, dest
        assert value is not None or NoneType in allowed


def test_ignored_flags_are_named_once_in_their_order():
    settings = load("--dtype", "auto", "--enforce-eager", "--seed", "1", "--dtype=half", "--no-use-tqdm-on-load")
    assert settings.ignored_flags == ["--dtype", "--enforce-eager", "--use-tqdm-on-load"]


def test_no_name_stands_twice_in_the_table():
    rows = [*acting_flags(), *inert_flags()]
    every = [name for flag in rows for name in (*flag.names, *flag.negations)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["m", "--port", "1", "--help"]])
def test_help_prints_the_page_and_ends(capsys, words):
    with pytest.raises(SystemExit) as end:
        load(*words)
    assert end.value.code == 0
    page = capsys.readouterr().out
    assert page == help.help_page() + "\n"


def test_the_help_page_names_every_setting_by_topic():
    page = help.help_page()
    for flag in acting_flags():
        assert flag.help in " ".join(page.split()), flag.dest
        assert all(name in page for name in flag.names)
        assert all(variable.name in page for variable in flag.environment)
    assert all(flag.name in page for flag in inert_flags())
    assert page.index("\nServer:") < page.index("\nModel:") < page.index("\nLatency:") < page.index("without effect:\n")
    assert "(default 30ms; environment MOCK_TTFT_BASE_SECONDS)" in " ".join(page.split())


def test_docs_settings_md_is_up_to_date():
    assert docs.main(["--check"]) == 0, "run python -m vllm_mock.settings.docs"


def test_stale_docs_fail_the_check_until_they_are_written(monkeypatch, tmp_path, capsys):
    path = tmp_path / "settings.md"
    monkeypatch.setattr(docs, "SETTINGS_MD", path)
    assert docs.main(["--check"]) == 1
    assert "python -m vllm_mock.settings.docs" in capsys.readouterr().err
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    path.write_text(path.read_text(encoding="utf-8") + "x", encoding="utf-8")
    assert docs.main(["--check"]) == 1


def test_settings_can_be_passed_on_as_json():
    values = {name: value for name, value in vars(load()).items() if name != "given"}
    assert json.loads(json.dumps(values)) == values


def test_unknown_flags_never_match_by_accident():
    for word in ("--", "---", "--=1", "-", "--zzz"):
        if word not in ("--", "-"):
            assert "unknown flag" in error_line(word)
    assert load("--").model == "llama2-7b"
    assert load("-").model == "-"
