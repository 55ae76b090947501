"""Write vllm_mock/data/openai_types.json.gz: what the openai package accepts as items and tools of a response.

    python scripts/openai_types.py [FILE]

vLLM 0.33.0 validates the body of /v1/responses with the types of that package, and its refusals list the faults of
every alternative. With the names of the fields, their kinds and the names of the types as data, the server gives the
same lists without the package. The version of the package is in the file; vLLM's lists are those of 3.57.0.
"""

import gzip
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openai.types.responses import ResponseInputItemParam, ResponseOutputItem, Tool
from openai.types.responses.response import ToolChoice
from pydantic import ConfigDict, TypeAdapter

TARGET = Path(__file__).parents[1] / "vllm_mock" / "data" / "openai_types.json.gz"
ROOTS: dict[str, Any] = {
    "item": ResponseInputItemParam | ResponseOutputItem,
    "tool": Tool,
    "tool_choice": ToolChoice,
}
SIMPLE = {"str", "int", "float", "bool", "any"}


class Types:
    """Named types in the order in which they are met, each once."""

    def __init__(self) -> None:
        self.named: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._shared: dict[str, Any] = {}

    def root(self, annotation: Any) -> Any:
        """The notation of one annotation."""
        # The models of vLLM allow other fields, and so do the types in them. A list, since a type alone has no say.
        adapter = TypeAdapter(list[annotation], config=ConfigDict(extra="allow"))
        return self._of(adapter.core_schema)[1]

    def _of(self, schema: Any) -> Any:
        kind = schema["type"]
        if kind in SIMPLE:
            assert len(schema) == 1, f"a bound that the notation cannot say: {schema}"
            return kind
        return getattr(self, "_" + kind.replace("-", "_"))(schema)

    def _definitions(self, schema: Any) -> Any:
        self._shared |= {each["ref"]: each for each in schema["definitions"]}
        return self._of(schema["schema"])

    def _definition_ref(self, schema: Any) -> Any:
        return self._of(self._shared[schema["schema_ref"]])

    def _literal(self, schema: Any) -> Any:
        return ["literal", schema["expected"]]

    def _nullable(self, schema: Any) -> Any:
        return ["nullable", self._of(schema["schema"])]

    def _default(self, schema: Any) -> Any:
        return self._of(schema["schema"])

    def _list(self, schema: Any) -> Any:
        return ["list", self._of(schema.get("items_schema", {"type": "any"}))]

    def _generator(self, schema: Any) -> Any:
        return ["generator", self._of(schema["items_schema"])]

    def _json_or_python(self, schema: Any) -> Any:
        return ["sequence", self._of(schema["json_schema"]["items_schema"])]

    def _dict(self, schema: Any) -> Any:
        return ["dict", self._of(schema.get("values_schema", {"type": "any"}))]

    def _union(self, schema: Any) -> Any:
        return ["union", [self._of(choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"]]]

    def _typed_dict(self, schema: Any) -> Any:
        return self._named(schema, schema["fields"], "dict")

    def _model(self, schema: Any) -> Any:
        return self._named(schema, schema["schema"]["fields"], "model")

    def _named(self, schema: Any, fields: Any, kind: str) -> Any:
        identity = f"{schema['cls'].__module__}.{schema['cls'].__qualname__}"
        if identity not in self._numbers:
            self._numbers[identity] = len(self.named)
            entry: dict[str, Any] = {"name": schema["cls"].__name__, "kind": kind, "fields": {}}
            self.named.append(entry)
            for name, field in fields.items():
                optional = not field.get("required", True) or field["schema"]["type"] == "default"
                key = field.get("validation_alias", name)
                entry["fields"][key] = [self._of(field["schema"]), not optional]
        return ["type", self._numbers[identity]]


def main() -> None:
    types = Types()
    roots = {name: types.root(annotation) for name, annotation in ROOTS.items()}
    document = {"openai": version("openai"), "types": types.named, **roots}
    text = json.dumps(document, separators=(",", ":"))
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{target}: {len(types.named)} types, {len(text)} characters, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
