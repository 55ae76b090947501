"""The page of --help."""

import os
import sys
import textwrap

from .catalogue import CONFIG, HELP
from .durations import format_duration
from .flag import Flag, rows
from .inert import inert_flags
from .kinds import SWITCH
from .settings import TOPICS

_WIDTH = 100
_INDENT = 28
_INTRODUCTION = """\
usage: python app.py [MODEL] [flags]

A stand-in for `vllm serve`. In names, dashes and underscores are the same; so are --x VALUE and --x=VALUE.
A switch --enable-x has --disable-x, --x has --no-x. JSON objects may be given key by key, for example
--kv-transfer-config.kv_role kv_both. A DURATION is 750us, 20ms or 1.5s; a plain number is in milliseconds.
The command line wins over the environment, the environment over the YAML file of --config."""


def print_help() -> None:
    """Print the page; a reader who has seen enough, such as `head`, is no error."""
    try:
        print(help_page(), flush=True)
    except BrokenPipeError:
        # What is still in the buffer would be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def help_page() -> str:
    """The whole page: our flags by topic, then those of vLLM that are accepted without effect."""
    parts = [_INTRODUCTION, _section("General", [HELP, CONFIG])]
    parts += [_section(topic.__doc__ or "", rows(topic)) for topic in TOPICS]
    parts.append("Flags of vllm serve that are accepted without effect:\n" + _inert_names())
    return "\n\n".join(parts)


def _section(heading: str, flags: list[Flag]) -> str:
    return "\n".join([f"{heading}:", *(_entry(flag) for flag in flags)])


def _entry(flag: Flag) -> str:
    head = "  " + usage(flag)
    explanation = f"{flag.help} ({'; '.join(_remarks(flag))})" if _remarks(flag) else flag.help
    wrapped = textwrap.wrap(explanation, _WIDTH - _INDENT)
    if len(head) < _INDENT - 1:
        head = head.ljust(_INDENT) + wrapped.pop(0)
    return "\n".join([head, *(" " * _INDENT + line for line in wrapped)])


def usage(flag: Flag) -> str:
    """The names with the placeholder of the value; the variables for a setting of the environment alone."""
    if not flag.names:
        return " or ".join(variable.name for variable in flag.environment)
    names = ", ".join(flag.names)
    if flag.kind is SWITCH:
        return f"{names}, {flag.negations[0]}"
    value = {"none": "", "one": flag.kind.metavar, "maybe": f"[{flag.kind.metavar}]"}.get(
        flag.kind.takes, f"{flag.kind.metavar} ..."
    )
    return f"{names} {value}".rstrip()


def _remarks(flag: Flag) -> list[str]:
    remarks = [f"default {default}"] if (default := default_of(flag)) else []
    if flag.names:
        remarks += [f"environment {variable.name}" for variable in flag.environment]
    return remarks


def default_of(flag: Flag) -> str:
    """The default in the notation of the command line; empty where there is none."""
    if flag.default_text:
        return flag.default_text
    if flag.kind.takes == "none":
        return ("on" if flag.default else "off") if flag.default is not None else ""
    if flag.default in (None, "", [], {}):
        return ""
    if flag.kind.metavar == "DURATION":
        return format_duration(flag.default)
    if isinstance(flag.default, list):
        return "[" + ", ".join(f'"{item}"' for item in flag.default) + "]"
    return f"{flag.default:g}" if isinstance(flag.default, float) else str(flag.default)


def _inert_names() -> str:
    names = " ".join(flag.name for flag in inert_flags())
    return textwrap.fill(
        names,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
