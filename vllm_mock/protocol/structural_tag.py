"""Structural tags: text with parts in it that must follow a format of their own.

Two notations: the newer one nests formats, the older one lists tags and the triggers they start with.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from vllm_mock.protocol import guidance, xgrammar_schemas, xgrammar_texts

_STYLES = (
    *("json", "qwen_xml", "minimax_xml", "minimax_m3_xml", "deepseek_xml", "glm_xml", "cohere_xml", "kimi_k3_xml"),
    "deepseek_v4_1_xml",
)
# Kind of format: the fields it must have and their types.
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "const_string": {"value": str},
    "any_text": {},
    "any_tokens": {},
    "exclude_token": {},
    "token": {"token": int},
    "json_schema": {"json_schema": (dict, bool)},
    "qwen_xml_parameter": {"json_schema": (dict, bool)},
    "regex": {"pattern": str},
    "grammar": {"grammar": str},
    "sequence": {"elements": list},
    "or": {"elements": list},
    "tag": {"begin": (str, dict), "content": dict, "end": (str, list, dict)},
    "triggered_tags": {"triggers": list, "tags": list},
    "token_triggered_tags": {"trigger_tokens": list, "tags": list},
    "tags_with_separator": {"tags": list, "separator": str},
    "optional": {"content": dict},
    "plus": {"content": dict},
    "star": {"content": dict},
    "repeat": {"min": int, "max": int, "content": dict},
    "dispatch": {"rules": list},
    "token_dispatch": {"rules": list},
}


def is_structural_tag(value: Any) -> bool:
    """Whether the decoded value is a valid specification in either notation."""
    if not isinstance(value, dict):
        return False
    if "structures" in value:
        return _is_tag_list(value["structures"], value.get("triggers"))
    return value.get("type", "structural_tag") == "structural_tag" and _is_format(value.get("format"))


def tag_fault(text: str) -> str | None:
    """Why a structural tag, as text, is refused where only the engine looks at it; None: it is taken.

    What xgrammar does not take is left to llguidance, which knows the older notation alone and complains of the rest
    with Python's own words.
    """
    try:
        tag = json.loads(text)
        return None if is_structural_tag(tag) else _older_fault(tag)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
        return f"Invalid grammar specification: {e}"


def _older_fault(tag: Any) -> str | None:
    triggers, structures = tag["triggers"], list(tag["structures"])
    for each in structures:
        begin = each["begin"]
        if not any(begin.startswith(trigger) for trigger in triggers):
            return f"Trigger {begin} not found in triggers {triggers}"
        schema, _ = each["schema"], each["end"]
        if not isinstance(schema, dict | str):
            raise ValueError("Expecting object schema to apply options")
    return None if structures else "No structural tags found in the grammar spec."


def _is_tag_list(structures: Any, triggers: Any) -> bool:
    if not isinstance(structures, list) or not all(isinstance(tag, dict) and _is_old_tag(tag) for tag in structures):
        return False
    return bool(structures) and _are_triggers(triggers, [tag["begin"] for tag in structures])


def _are_triggers(triggers: Any, begins: Sequence[Any]) -> bool:
    """Every tag starts with just one trigger, and every trigger starts a tag."""
    if not isinstance(triggers, list) or not triggers:
        return False
    if not all(isinstance(text, str) and text for text in (*triggers, *begins)):
        return False
    if any(sum(begin.startswith(trigger) for trigger in triggers) != 1 for begin in begins):
        return False
    return all(any(begin.startswith(trigger) for begin in begins) for trigger in triggers)


def _is_old_tag(tag: dict[str, Any]) -> bool:
    texts = isinstance(tag.get("begin"), str) and isinstance(tag.get("end"), str)
    return texts and _is_schema(tag.get("schema"))


def _is_schema(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, dict) and not xgrammar_schemas.is_faulty(value))


def _is_format(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return False
    fields = _FIELDS.get(value["type"])
    if fields is None or not all(isinstance(value.get(name), kind) for name, kind in fields.items()):
        return False
    check = _CHECKS.get(value["type"])
    return check is None or check(value)


def _is_list_of_formats(value: dict[str, Any]) -> bool:
    return bool(value["elements"]) and all(map(_is_format, value["elements"]))


def _has_content(value: dict[str, Any]) -> bool:
    return _is_format(value["content"])


def _is_repeat(value: dict[str, Any]) -> bool:
    return value["min"] >= 0 and (value["max"] == -1 or value["min"] <= value["max"]) and _has_content(value)


def _is_tag(value: dict[str, Any]) -> bool:
    ends = value["end"] if isinstance(value["end"], list) else [value["end"]]
    if not ends or not _has_content(value):
        return False
    # Free text must know where it ends.
    return all(ends) or value["content"]["type"] not in ("any_text", "triggered_tags", "any_tokens", "dispatch")


def _are_tags(value: dict[str, Any]) -> bool:
    return bool(value["tags"]) and all(
        isinstance(tag, dict) and _is_format(tag | {"type": "tag"}) for tag in value["tags"]
    )


def _are_triggered_tags(value: dict[str, Any]) -> bool:
    return _are_tags(value) and _are_triggers(value["triggers"], [tag["begin"] for tag in value["tags"]])


def _are_rules(value: dict[str, Any]) -> bool:
    rules = value["rules"]
    return bool(rules) and all(isinstance(rule, list) and len(rule) == 2 and _is_format(rule[1]) for rule in rules)


def _is_json(value: dict[str, Any]) -> bool:
    return value.get("style", "json") in _STYLES and _is_schema(value["json_schema"])


def _is_grammar(value: dict[str, Any]) -> bool:
    return "::=" in value["grammar"] and guidance.grammar_fault(value["grammar"]) is None


_CHECKS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "regex": lambda value: xgrammar_texts.regex_fault(value["pattern"]) is None,
    "grammar": _is_grammar,
    "json_schema": _is_json,
    "qwen_xml_parameter": _is_json,
    "sequence": _is_list_of_formats,
    "or": _is_list_of_formats,
    "tag": _is_tag,
    "triggered_tags": _are_triggered_tags,
    "token_triggered_tags": lambda value: bool(value["trigger_tokens"]) and _are_tags(value),
    "tags_with_separator": _are_tags,
    "optional": _has_content,
    "plus": _has_content,
    "star": _has_content,
    "repeat": _is_repeat,
    "dispatch": _are_rules,
    "token_dispatch": _are_rules,
}
