"""`python -m vllm_mock.settings.docs` writes docs/settings.md from the table; --check fails if it is stale."""

import sys
from pathlib import Path

from .catalogue import CONFIG, HELP
from .flag import Environment, Flag, rows
from .help import default_of, usage
from .inert import inert_topics
from .settings import TOPICS

SETTINGS_MD = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
_INTRODUCTION = """\
# Settings

<!-- Written by `python -m vllm_mock.settings.docs`; do not edit. -->

Command line > environment > YAML file of `--config` > default.

- The command line is that of `vllm serve`: the model may come first, without a flag; names take dashes or
  underscores; `--x VALUE` and `--x=VALUE` are the same; a switch `--enable-x` has `--disable-x`, `--x` has `--no-x`;
  JSON objects may be given key by key, as in `--kv-transfer-config.kv_role kv_both`.
- The YAML file has the same names: `max-model-len: 4k`, `enable-lora: true`, `api-key: [k1, k2]`.
- Durations are `750us`, `20ms`, `1.5s`; a plain number has the unit of the table: milliseconds, but seconds in the
  variables.
- Where tokens are a limit, `4k` is 4000 and `4K` is 4096.
- Switches in the environment are `true` or `false`, `1` or `0`. An empty variable counts as unset.
- An unknown flag, key or impossible value stops the start with exit code 2 and one line that says what is possible.
- `config.json` beside `app.py` may hold `huggingface_token`, for `--tokenizer` with a Hugging Face id.
"""


def settings_page() -> str:
    """The text of docs/settings.md."""
    parts = [_INTRODUCTION, _table("General", [HELP, CONFIG])]
    parts += [_table(topic.__doc__ or "", rows(topic)) for topic in TOPICS]
    parts.append(
        "## Accepted without effect\n\n"
        "The other flags of `vllm serve` are accepted and checked; start-up names the given ones once.\n"
    )
    parts += [f"**{heading}**: {', '.join(map(_names, flags))}\n" for heading, flags in inert_topics()]
    return "\n".join(parts)


def _table(heading: str, flags: list[Flag]) -> str:
    lines = [f"## {heading}", "", "| Flag | Environment | Default | Unit | Meaning |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, flags)]) + "\n"


def _line(flag: Flag) -> str:
    variables = ", ".join(map(_variable, flag.environment))
    cells = (f"`{usage(flag)}`" if flag.names else "", variables, _default(flag), flag.kind.unit, flag.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _variable(variable: Environment) -> str:
    unit = f" ({variable.kind.unit})" if variable.kind is not None else ""
    return f"`{variable.name}`{unit}"


def _default(flag: Flag) -> str:
    default = default_of(flag)
    return default if flag.default_text or not default else f"`{default}`"


def _names(flag: Flag) -> str:
    return ", ".join(f"`{name}`" for name in flag.names)


def main(argv: list[str]) -> int:
    """Write the page, or with --check compare it: exit code 1 if it is stale."""
    page = settings_page()
    if "--check" not in argv:
        SETTINGS_MD.write_text(page, encoding="utf-8")
        return 0
    if SETTINGS_MD.exists() and SETTINGS_MD.read_text(encoding="utf-8") == page:
        return 0
    print("docs/settings.md is stale: run python -m vllm_mock.settings.docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
