"""Structural tags: text with parts in it that must follow a format of their own.

Two notations: the newer one nests formats, the older one lists tags and the triggers they start with.
"""

from typing import Any

from vllm_mock.protocol.regex_faults import regex_fault

# Kind of format: the fields it must have and their types.
_FORMATS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "const_string": {"value": str},
    "any_text": {},
    "json_schema": {"json_schema": (dict, bool)},
    "qwen_xml_parameter": {"json_schema": (dict, bool)},
    "regex": {"pattern": str},
    "grammar": {"grammar": str},
    "sequence": {"elements": list},
    "or": {"elements": list},
    "tag": {"begin": str, "content": dict},
    "triggered_tags": {"triggers": list, "tags": list},
    "tags_with_separator": {"tags": list, "separator": str},
}


def is_structural_tag(value: Any) -> bool:
    """Whether the decoded value is a valid specification in either notation."""
    if not isinstance(value, dict):
        return False
    if "structures" in value:
        return _is_tag_list(value["structures"], value.get("triggers"))
    return _is_format(value.get("format"))


def _is_tag_list(structures: Any, triggers: Any) -> bool:
    """Every tag starts with a trigger, and every trigger starts a tag."""
    if not isinstance(structures, list) or not isinstance(triggers, list) or not structures:
        return False
    if not all(isinstance(trigger, str) and trigger for trigger in triggers):
        return False
    if not all(isinstance(tag, dict) and _is_old_tag(tag) for tag in structures):
        return False
    begins = [tag["begin"] for tag in structures]
    return all(begin.startswith(tuple(triggers)) for begin in begins) and all(
        any(begin.startswith(trigger) for begin in begins) for trigger in triggers
    )


def _is_old_tag(tag: dict[str, Any]) -> bool:
    return isinstance(tag.get("begin"), str) and isinstance(tag.get("end"), str) and isinstance(tag.get("schema"), dict)


def _is_format(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    fields = _FORMATS.get(value["type"]) if isinstance(value.get("type"), str) else None
    if fields is None or not all(isinstance(value.get(name), kind) for name, kind in fields.items()):
        return False
    kind = value["type"]
    if kind == "regex":
        return regex_fault(value["pattern"]) is None
    if kind in ("sequence", "or"):
        return bool(value["elements"]) and all(map(_is_format, value["elements"]))
    if kind == "tag":
        return _is_format(value["content"])
    if kind in ("triggered_tags", "tags_with_separator"):
        return bool(value["tags"]) and all(
            isinstance(tag, dict) and _is_format(tag | {"type": "tag"}) for tag in value["tags"]
        )
    return True
