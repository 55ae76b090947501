"""What the openai package accepts as items and tools of a response, read from data instead of the package.

vLLM validates these with the package's types, and its refusals list the faults of every alternative. The data is
written by scripts/openai_types.py.
"""

import gzip
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

_DATA = Path(__file__).parents[1] / "data" / "openai_types.json.gz"


def checked(root: str, value: Any) -> Any:
    """The value with all fields of its type, null where it does not say.

    `root` is a key of the data, such as "tool". Raises pydantic's ValidationError with the openai package's names.
    """
    return _whole(_validator(root).validate_python(value, from_attributes=True))


def _whole(value: Any) -> Any:
    """pydantic-core gives fields, other fields and names of what was given for what has no class."""
    if isinstance(value, tuple):
        fields, others, _ = value
        return {name: _whole(field) for name, field in (*fields.items(), *(others or {}).items())}
    if isinstance(value, dict):
        return {name: _whole(field) for name, field in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


@cache
def _validator(root: str) -> SchemaValidator:
    document = _document()
    builder = _Builder(document["types"])
    schema = builder.of(document[root])
    return SchemaValidator(core_schema.definitions_schema(schema, list(builder.definitions.values())))


@cache
def _document() -> Any:
    return json.loads(gzip.decompress(_DATA.read_bytes()))


class _Builder:
    """Schemas of pydantic-core from the notation of the data."""

    def __init__(self, types: Sequence[Any]) -> None:
        self._types = types
        self.definitions: dict[int, Any] = {}

    def of(self, form: Any) -> Any:
        if isinstance(form, str):
            return {"type": form}
        kind, inner = form
        return getattr(self, f"_{kind}")(inner)

    def _literal(self, expected: list[Any]) -> Any:
        return core_schema.literal_schema(expected)

    def _nullable(self, form: Any) -> Any:
        return core_schema.nullable_schema(self.of(form))

    def _list(self, form: Any) -> Any:
        return core_schema.list_schema(self.of(form))

    def _generator(self, form: Any) -> Any:
        return core_schema.generator_schema(self.of(form))

    def _dict(self, form: Any) -> Any:
        return core_schema.dict_schema(core_schema.str_schema(), self.of(form))

    def _sequence(self, form: Any) -> Any:
        items = core_schema.no_info_before_validator_function(_no_text, core_schema.list_schema(self.of(form)))
        return core_schema.chain_schema([core_schema.is_instance_schema(Sequence), items])

    def _union(self, forms: Sequence[Any]) -> Any:
        return core_schema.union_schema([(self.of(form), self._label(form)) for form in forms])

    def _label(self, form: Any) -> str:
        """The name of a type; other alternatives have none in a refusal, whatever they are called."""
        return self._types[form[1]]["name"] if form[0] == "type" else "list[...]"

    def _type(self, number: int) -> Any:
        reference = str(number)
        if number not in self.definitions:
            self.definitions[number] = None  # types may contain themselves
            entry = self._types[number]
            make = self._typed_dict if entry["kind"] == "dict" else self._model
            self.definitions[number] = make(entry["fields"], reference)
        return core_schema.definition_reference_schema(reference)

    def _typed_dict(self, fields: dict[str, Any], reference: str) -> Any:
        described = {
            name: core_schema.typed_dict_field(self.of(form), required=required)
            for name, (form, required) in fields.items()
        }
        return core_schema.typed_dict_schema(described, extra_behavior="allow", ref=reference)

    def _model(self, fields: dict[str, Any], reference: str) -> Any:
        described = {
            name: core_schema.model_field(self.of(form) if required else _optional(self.of(form)))
            for name, (form, required) in fields.items()
        }
        return core_schema.model_fields_schema(described, extra_behavior="allow", from_attributes=True, ref=reference)


def _optional(schema: Any) -> Any:
    return core_schema.with_default_schema(schema, default=None)


def _no_text(value: Any) -> Any:
    """A text is a sequence, but not of what is meant."""
    if isinstance(value, str | bytes):
        name = type(value).__name__
        raise PydanticCustomError("sequence_str", f"'{name}' instances are not allowed as a Sequence value")
    return value
