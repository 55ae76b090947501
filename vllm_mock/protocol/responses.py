"""The request of /v1/responses. Items, tools and formats carry the names of the openai package's types, since these
are part of the error messages."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from vllm_mock.protocol import precheck
from vllm_mock.protocol.common import OPEN, Effort, Int64, StopStrings
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.openai_types import checked
from vllm_mock.protocol.structured import StructuredOutputsParams

LOGPROBS = "message.output_text.logprobs"
Includable = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
]
# The keys of the most common items: what has others, or other values, is left to the openai package's types.
_MESSAGE_KEYS = frozenset(("type", "role", "content"))
_TEXT_KEYS = {
    "function_call": frozenset(("type", "call_id", "name", "arguments", "id")),
    "function_call_output": frozenset(("type", "call_id", "output")),
}
_FUNCTION_KEYS = {"type": str, "name": str, "parameters": dict, "strict": bool, "description": str}
_ROLES = ("user", "assistant", "system", "developer")
_CHOICES = ("none", "auto", "required")


def _item(value: Any) -> Any:
    """An input item; what it is made of is looked at when it becomes a message."""
    if not isinstance(value, dict):
        return checked("item", value)
    if _is_message(value) or _is_call(value):
        return value
    item = _with_defaults(value)
    output = _as_output(item)
    if output is not None:
        try:
            # The parts are looked at one by one, when they are read.
            list(checked("item", output)["content"])
        except ValidationError:
            pass  # the faults of what was sent are told
        else:
            return output
    checked("item", item)
    return item


def _with_defaults(item: dict[str, Any]) -> dict[str, Any]:
    """What vLLM fills in before it looks at an item."""
    if item.get("type") == "reasoning" and "id" not in item:
        return item | {"id": "rs_0000000000000000"}
    content = item.get("content")
    if not isinstance(content, list):
        return item
    return item | {"content": [_with(part, "input_image", "detail", "auto") for part in content]}


def _as_output(item: dict[str, Any]) -> dict[str, Any] | None:
    """A message of the assistant as if it was an earlier answer, with what every answer has."""
    if item.get("type") != "message" or item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return None
    parts = [_with(part, "output_text", "annotations", []) for part in item["content"]]
    return {"id": "msg_0000000000000000", "status": "completed", **item, "content": parts}


def _with(part: Any, kind: str, key: str, default: Any) -> Any:
    return {**part, key: default} if isinstance(part, dict) and part.get("type") == kind and key not in part else part


def _is_message(item: dict[str, Any]) -> bool:
    """Whether it is a message made of text."""
    if item.keys() - _MESSAGE_KEYS or item.get("type", "message") != "message" or item.get("role") not in _ROLES:
        return False
    content = item.get("content")
    return isinstance(content, str) or (isinstance(content, list) and all(_is_text_part(part) for part in content))


def _is_text_part(part: Any) -> bool:
    if not isinstance(part, dict) or len(part) != 2:
        return False
    return part.get("type") == "input_text" and isinstance(part.get("text"), str)


def _is_call(item: dict[str, Any]) -> bool:
    """Whether it is a function's call or its result, all of texts."""
    kind = item.get("type")
    keys = _TEXT_KEYS.get(kind) if isinstance(kind, str) else None
    return keys is not None and item.keys() | {"id"} == keys | {"id"} and all(map(_is_text, item.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


InputItem = Annotated[Any, BeforeValidator(_item)]


class ResponseFormatText(BaseModel):
    """text.format: no format at all."""

    model_config = OPEN

    type: Literal["text"]


class ResponseFormatTextJSONSchemaConfig(BaseModel):
    """text.format: JSON that is valid against a schema."""

    model_config = OPEN | ConfigDict(serialize_by_alias=True)

    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    type: Literal["json_schema"]
    description: str | None = None
    strict: bool | None = None


class ResponseFormatJSONObject(BaseModel):
    """text.format: any JSON object."""

    model_config = OPEN

    type: Literal["json_object"]


class ResponseTextConfig(BaseModel):
    """How the text is to look."""

    model_config = OPEN

    format: ResponseFormatText | ResponseFormatTextJSONSchemaConfig | ResponseFormatJSONObject | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class FunctionTool(BaseModel):
    """A function that the model may call."""

    model_config = OPEN | ConfigDict(serialize_by_alias=True)

    name: str
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    type: Literal["function"]
    allowed_callers: list[str] | None = None
    async_: bool | None = Field(None, alias="async")
    defer_loading: bool | None = None
    description: str | None = None
    output_schema: dict[str, Any] | None = None


class PromptCacheOptionsParam(BaseModel):
    """What OpenAI is told about caching a prompt."""

    mode: Literal["implicit", "explicit"] = "implicit"
    ttl: Literal["30m"] = "30m"
    comparison_response_id: str | None = None


def _tool(value: Any) -> Any:
    """A function, or a tool that OpenAI hosts, which is accepted and never called: all its fields."""
    if _is_function(value):
        return FunctionTool.model_validate(value)
    tool = checked("tool", value)
    return FunctionTool.model_validate(value) if tool["type"] == "function" else tool


def _is_function(tool: Any) -> bool:
    """Whether it is a function of the usual fields."""
    if not isinstance(tool, dict) or tool.get("type") != "function" or "name" not in tool:
        return False
    return all(isinstance(value, _FUNCTION_KEYS.get(key, ())) for key, value in tool.items())


def _choice(value: Any) -> Any:
    """A word, a function, some of the tools, or all fields of a choice among tools that OpenAI hosts."""
    if isinstance(value, str) and value in _CHOICES:
        return value
    choice = checked("tool_choice", value)
    for model, kind in ((ToolChoiceFunction, "function"), (ToolChoiceAllowed, "allowed_tools")):
        if choice["type"] == kind:
            return model.model_validate(value)
    return choice


class ToolChoiceFunction(BaseModel):
    """One function is to be called."""

    model_config = OPEN

    name: str
    type: Literal["function"]


class ToolChoiceAllowed(BaseModel):
    """Some of the tools are allowed."""

    model_config = OPEN

    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]
    type: Literal["allowed_tools"]


class Reasoning(BaseModel):
    """How much the model is to think."""

    model_config = OPEN

    context: str | None = None
    effort: Effort | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    mode: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class Message(BaseModel):
    """A message in the form of OpenAI's own models, which play no part here."""

    author: dict[str, Any]
    content: list[dict[str, Any]]


def _retention(value: Any) -> Any:
    """An older spelling counts, too."""
    return "in_memory" if value == "in-memory" else value


class ResponsesRequest(BaseModel):
    """Fields, their order, types and defaults as vLLM 0.33.0 has them.

    `request_id` is None unless the client set it; vLLM draws one here.
    """

    model_config = OPEN

    background: bool | None = False
    include: list[Includable] | None = None
    input: str | list[InputItem]
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] | None = None
    model: str | None = None
    logit_bias: dict[str, float] | None = None
    parallel_tool_calls: bool | None = True
    previous_response_id: str | None = None
    prompt: dict[str, Any] | None = None
    reasoning: Reasoning | None = None
    include_reasoning: bool = True
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] = "auto"
    store: bool | None = True
    stream: bool | None = False
    temperature: float | None = None
    text: ResponseTextConfig | None = None
    tool_choice: Annotated[Any, PlainValidator(_choice)] = "auto"
    tools: list[Annotated[Any, PlainValidator(_tool)]] = Field(default_factory=list)
    top_logprobs: int | None = 0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    truncation: Literal["auto", "disabled"] | None = "disabled"
    user: str | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    presence_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: PromptCacheOptionsParam | None = None
    prompt_cache_retention: Annotated[Literal["in_memory", "24h"] | None, BeforeValidator(_retention)] = None
    safety_identifier: str | None = None
    watermarking: bool | None = None
    request_id: str = None  # type: ignore[assignment]
    session_id: str | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    priority: Int64 = 0
    mm_payload: Literal["tensors", "none"] = "tensors"
    return_mm_kwargs: bool | None = None
    cache_salt: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    enable_response_messages: bool = False
    previous_input_messages: list[Message | dict[str, Any]] | None = None
    structured_outputs: StructuredOutputsParams | None = None
    repetition_penalty: float | None = None
    seed: Int64 | None = None
    stop: str | StopStrings | None = Field(default_factory=list)
    stop_token_ids: list[int] | None = Field(default_factory=list)
    ignore_eos: bool = False
    vllm_xargs: dict[str, str | int | float | list[str | int | float]] | None = None
    kv_transfer_params: dict[str, Any] | None = None
    ec_transfer_params: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @staticmethod
    def precheck(data: dict[str, Any]) -> None:
        """vLLM's looks at the raw body, in its order. Raises ApiError."""
        _check_tool_usage(data)
        if data.get("prompt") is not None:
            raise ApiError.bad_request("prompt template is not supported", "prompt")
        if data.get("background") and not data.get("store", True):
            raise ApiError.bad_request("background can only be used when `store` is true", "background")
        precheck.check_cache_salt(data)
        precheck.apply_return_mm_kwargs(data)
        if isinstance(data.get("input"), dict):
            # vLLM goes through it as through a list.
            data["input"] = list(data["input"])

    @property
    def wants_logprobs(self) -> bool:
        """Whether the text comes with log probabilities."""
        return LOGPROBS in (self.include or ())


def _check_tool_usage(data: dict[str, Any]) -> None:
    tools, choice = data.get("tools"), data.get("tool_choice", "auto")
    if isinstance(tools, int | float):
        raise ApiError.bad_request(f"object of type '{type(tools).__name__}' has no len()")
    if choice == "required" and not tools:
        text = "Tool choice 'required' must be specified with 'tools' parameter."
        raise ApiError.bad_request(text, "tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("function", "custom"):
        _check_named(choice.get("name"), tools or ())
    if choice == "auto" and not tools:
        data["tool_choice"] = "none"


def _check_named(name: Any, tools: Any) -> None:
    """A tool of that name, of whatever type, is among the tools."""
    if isinstance(name, dict | list):  # vLLM looks it up in a set
        raise ApiError.bad_request(f"unhashable type: '{type(name).__name__}'")
    names = [tool.get("name") for tool in tools if isinstance(tool, dict)]
    if not (isinstance(name, str) and name and name in names):
        raise ApiError.bad_request("Tool choice 'function' not found in 'tools' parameter.", "tool_choice")


class RetrieveQuery(BaseModel):
    """The parameters of GET /v1/responses/{response_id}."""

    starting_after: int | None = None
    stream: bool | None = False
