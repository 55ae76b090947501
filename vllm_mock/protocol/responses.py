"""The request of /v1/responses. Items, tools and formats carry the names of the openai package's types, since these
are part of the error messages."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from vllm_mock.protocol import precheck
from vllm_mock.protocol.common import OPEN, Int64, StopStrings
from vllm_mock.protocol.errors import ApiError
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
ITEM_TYPES = frozenset(
    (
        *("message", "reasoning", "item_reference", "compaction", "mcp_list_tools", "mcp_call"),
        *("mcp_approval_request", "mcp_approval_response", "image_generation_call", "web_search_call"),
        *("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
        *("file_search_call", "computer_call", "computer_call_output", "code_interpreter_call"),
        *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output"),
        *("apply_patch_call", "apply_patch_call_output"),
    )
)
_NEEDED_TEXTS = {
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
_TEXT_PARTS = frozenset(("input_text", "output_text"))
_CONTENT_PARTS = _TEXT_PARTS | {"input_image", "input_file", "input_audio", "refusal"}
HOSTED_TOOLS = frozenset(
    (
        *("file_search", "computer", "computer_use_preview", "web_search", "web_search_2025_08_26", "mcp"),
        *("code_interpreter", "image_generation", "local_shell", "shell", "custom", "apply_patch"),
        *("web_search_preview", "web_search_preview_2025_03_11"),
    )
)


def _item(value: Any) -> Any:
    """An input item; what it is made of is looked at when it becomes a message."""
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "Input should be a valid dictionary")
    if "role" in value:
        if "content" not in value:
            raise PydanticCustomError("missing", "Field required")
        _check_content(value["content"])
        if value["role"] not in ("user", "assistant", "system", "developer"):
            expected = "'user', 'assistant', 'system' or 'developer'"
            raise PydanticCustomError("literal_error", f"Input should be {expected}", {"expected": expected})
    elif value.get("type") in _NEEDED_TEXTS:
        for name in _NEEDED_TEXTS[value["type"]]:
            if name not in value:
                raise PydanticCustomError("missing", "Field required")
    elif value.get("type") not in ITEM_TYPES - {"message"}:
        raise PydanticCustomError("literal_error", "Input should be 'message'", {"expected": "'message'"})
    return value


def _check_content(content: Any) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in _CONTENT_PARTS:
            raise PydanticCustomError("literal_error", "Input should be 'input_text'", {"expected": "'input_text'"})
        if part["type"] in _TEXT_PARTS and not isinstance(part.get("text"), str):
            raise PydanticCustomError("string_type", "Input should be a valid string")


InputItem = Annotated[Any, BeforeValidator(_item)]


class ResponseFormatText(BaseModel):
    """text.format: no format at all."""

    type: Literal["text"]


class ResponseFormatTextJSONSchemaConfig(BaseModel):
    """text.format: JSON that is valid against a schema."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    type: Literal["json_schema"]
    description: str | None = None
    strict: bool | None = None


class ResponseFormatJSONObject(BaseModel):
    """text.format: any JSON object."""

    type: Literal["json_object"]


class ResponseTextConfig(BaseModel):
    """How the text is to look."""

    format: ResponseFormatText | ResponseFormatTextJSONSchemaConfig | ResponseFormatJSONObject | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class FunctionTool(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    type: Literal["function"]
    allowed_callers: list[str] | None = None
    async_: bool | None = Field(None, alias="async")
    defer_loading: bool | None = None
    description: str | None = None
    output_schema: dict[str, Any] | None = None


class WebSearchTool(BaseModel):
    """OpenAI's search."""

    type: Literal["web_search", "web_search_2025_08_26"]
    external_web_access: bool | None = None
    filters: dict[str, Any] | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: dict[str, Any] | None = None


class CodeInterpreterContainer(BaseModel):
    """Where OpenAI runs code."""

    type: Literal["auto"]
    file_ids: list[str] | None = None
    memory_limit: Literal["1g", "4g", "16g", "64g"] | None = None
    network_policy: dict[str, Any] | None = None


class CodeInterpreter(BaseModel):
    """OpenAI's code interpreter."""

    container: str | CodeInterpreterContainer
    type: Literal["code_interpreter"]
    allowed_callers: list[str] | None = None


class PromptCacheOptionsParam(BaseModel):
    """What OpenAI is told about caching a prompt."""

    mode: str = "implicit"
    ttl: str = "30m"
    comparison_response_id: str | None = None


def _hosted(value: Any) -> Any:
    """A tool that OpenAI hosts: accepted, never called."""
    if not isinstance(value, dict) or value.get("type") not in HOSTED_TOOLS:
        raise PydanticCustomError("literal_error", "Input should be 'web_search'", {"expected": "'web_search'"})
    return value


HostedTool = Annotated[Any, BeforeValidator(_hosted)]


class ToolChoiceFunction(BaseModel):
    """One function is to be called."""

    name: str
    type: Literal["function"]


class ToolChoiceAllowed(BaseModel):
    """Some of the tools are allowed."""

    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]
    type: Literal["allowed_tools"]


class Reasoning(BaseModel):
    """How much the model is to think."""

    context: str | None = None
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    mode: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


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
    tool_choice: Literal["none", "auto", "required"] | ToolChoiceAllowed | ToolChoiceFunction = "auto"
    tools: list[FunctionTool | WebSearchTool | CodeInterpreter | HostedTool] = Field(default_factory=list)
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
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    safety_identifier: str | None = None
    watermarking: bool | None = None
    request_id: str | None = None
    session_id: str | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    priority: Int64 = 0
    mm_payload: Literal["tensors", "none"] = "tensors"
    return_mm_kwargs: bool | None = None
    cache_salt: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    enable_response_messages: bool = False
    previous_input_messages: list[dict[str, Any]] | None = None
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
        if data.get("background") and data.get("store", True) is False:
            raise ApiError.bad_request("background can only be used when `store` is true", "background")
        if data.get("prompt") is not None:
            raise ApiError.bad_request("prompt template is not supported", "prompt")
        precheck.check_cache_salt(data)
        if isinstance(data.get("input"), dict):
            # vLLM goes through it as through a list.
            data["input"] = list(data["input"])
        tools = data.get("tools")
        if isinstance(tools, int | float):
            raise ApiError.bad_request(f"object of type '{type(tools).__name__}' has no len()")
        choice = data.get("tool_choice") or "auto"
        if choice == "required" and not tools:
            text = "Tool choice 'required' must be specified with 'tools' parameter."
            raise ApiError.bad_request(text, "tool_choice")
        if isinstance(choice, dict) and not _is_offered(choice, tools or ()):
            text = f"Tool choice '{choice.get('type')}' not found in 'tools' parameter."
            raise ApiError.bad_request(text, "tool_choice")
        data["tool_choice"] = "none" if choice == "auto" and not tools else choice

    @property
    def wants_logprobs(self) -> bool:
        """Whether the text comes with log probabilities."""
        return LOGPROBS in (self.include or ())


def _is_offered(choice: dict[str, Any], tools: Any) -> bool:
    """Whether a tool of that type, and of that name where there is one, is among the tools."""
    if choice.get("type") == "allowed_tools":
        return True
    return any(
        isinstance(tool, dict) and tool.get("type") == choice.get("type") and tool.get("name") == choice.get("name")
        for tool in tools
    )


class RetrieveQuery(BaseModel):
    """The parameters of GET /v1/responses/{response_id}."""

    starting_after: int | None = None
    stream: bool | None = False
