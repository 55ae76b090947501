"""The requests of /v1/messages and /v1/messages/count_tokens, field by field as vLLM 0.33.0 has them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from vllm_mock.protocol.common import OPEN, CacheSalt, StopStrings, XArg
from vllm_mock.protocol.precheck import apply_return_mm_kwargs

BlockType = Literal[
    "text",
    "image",
    "tool_use",
    "tool_result",
    "tool_reference",
    "thinking",
    "redacted_thinking",
    "tool_addition",
    "tool_removal",
]
TOOL_CHANGES = ("tool_addition", "tool_removal")


class AnthropicTool(BaseModel):
    """A tool of the client's."""

    model_config = OPEN

    name: str
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None
    defer_loading: bool | None = None

    @field_validator("input_schema")
    @classmethod
    def _has_type(cls, schema: dict[str, Any]) -> dict[str, Any]:
        return schema if "type" in schema else {**schema, "type": "object"}


class ToolReference(BaseModel):
    """Names a tool that the request declares."""

    model_config = OPEN

    type: Literal["tool_reference"]
    name: str


class ToolDefinition(BaseModel):
    """Declares a tool in the middle of the conversation."""

    model_config = OPEN

    type: Literal["tool_definition"]
    definition: AnthropicTool


ToolChange = Annotated[ToolReference | ToolDefinition, Field(discriminator="type")]


class AnthropicContentBlock(BaseModel):
    """A block of any type; which fields count depends on it."""

    model_config = OPEN

    type: BlockType
    text: str | None = None
    source: dict[str, Any] | None = None
    id: str | None = None
    tool_use_id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    content: str | list[dict[str, Any]] | None = None
    is_error: bool | None = None
    tool_name: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    tool: ToolChange | None = None

    @model_validator(mode="after")
    def _names_its_tool(self) -> "AnthropicContentBlock":
        if self.type in TOOL_CHANGES and self.tool is None:
            raise ValueError(f"tool is required for {self.type} blocks")
        return self


class AnthropicMessage(BaseModel):
    """One turn of the conversation."""

    model_config = OPEN

    role: Literal["user", "assistant", "system"]
    content: str | list[AnthropicContentBlock]

    @model_validator(mode="after")
    def _changes_tools_as_system(self) -> "AnthropicMessage":
        if self.role != "system" and not isinstance(self.content, str):
            for block in self.content:
                if block.type in TOOL_CHANGES:
                    raise ValueError(f'{block.type} blocks are only allowed in messages with role "system"')
        return self


class OutputFormat(BaseModel):
    """Structured output."""

    model_config = OPEN

    type: Literal["json_schema"] = "json_schema"
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class AnthropicOutputConfig(BaseModel):
    """How much effort to take, and what form the answer has."""

    model_config = OPEN

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


Display = Literal["summarized", "omitted", "updates"] | None


class ThinkingEnabled(BaseModel):
    """Thinking of at most `budget_tokens` tokens."""

    model_config = OPEN

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=1024)]
    display: Display = None


class ThinkingDisabled(BaseModel):
    """No thinking."""

    model_config = OPEN

    type: Literal["disabled"]


class ThinkingAdaptive(BaseModel):
    """As much thinking as the model sees fit."""

    model_config = OPEN

    type: Literal["adaptive"]
    display: Display = None


ThinkingConfig = Annotated[ThinkingEnabled | ThinkingDisabled | ThinkingAdaptive, Field(discriminator="type")]


class AnthropicToolChoice(BaseModel):
    """Whether a tool is called, and which."""

    model_config = OPEN

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _names_the_tool(self) -> "AnthropicToolChoice":
        if self.type == "tool" and not self.name:
            raise ValueError("tool_choice.name is required when type is 'tool'")
        return self


def _required_model(model: str) -> str:
    if not model:
        raise ValueError("Model is required")
    return model


class AnthropicMessagesRequest(BaseModel):
    """The body of POST /v1/messages."""

    model_config = OPEN

    model: str
    messages: list[AnthropicMessage]
    max_tokens: int
    metadata: dict[str, Any] | None = None
    output_config: AnthropicOutputConfig | None = None
    thinking: ThinkingConfig | None = None
    stop_sequences: StopStrings | None = None
    stream: bool | None = False
    system: str | list[AnthropicContentBlock] | None = None
    temperature: float | None = None
    tool_choice: AnthropicToolChoice | None = None
    tools: list[AnthropicTool] | None = None
    top_k: int | None = None
    top_p: float | None = None
    mm_payload: Literal["tensors", "none"] = "tensors"
    return_mm_kwargs: bool | None = None
    cache_salt: CacheSalt | None = None
    watermarking: bool | None = None
    kv_transfer_params: dict[str, Any] | None = None
    ec_transfer_params: dict[str, Any] | None = None
    vllm_xargs: dict[str, XArg | list[XArg]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    precheck = staticmethod(apply_return_mm_kwargs)

    @field_validator("model")
    @classmethod
    def _has_model(cls, model: str) -> str:
        return _required_model(model)

    @field_validator("max_tokens")
    @classmethod
    def _is_positive(cls, max_tokens: int) -> int:
        if max_tokens <= 0:
            raise ValueError("max_tokens must be positive")
        return max_tokens

    @model_validator(mode="after")
    def _thinks_less_than_it_says(self) -> "AnthropicMessagesRequest":
        if self.kv_transfer_params and self.kv_transfer_params.get("do_remote_decode"):
            # The prefill for another server has max_tokens 1, whatever the client asked for.
            return self
        if isinstance(self.thinking, ThinkingEnabled) and self.thinking.budget_tokens >= self.max_tokens:
            raise ValueError("thinking.budget_tokens must be less than max_tokens")
        return self


class AnthropicCountTokensRequest(BaseModel):
    """The body of POST /v1/messages/count_tokens."""

    model_config = OPEN

    model: str
    messages: list[AnthropicMessage]
    output_config: AnthropicOutputConfig | None = None
    system: str | list[AnthropicContentBlock] | None = None
    thinking: ThinkingConfig | None = None
    tool_choice: AnthropicToolChoice | None = None
    tools: list[AnthropicTool] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("model")
    @classmethod
    def _has_model(cls, model: str) -> str:
        return _required_model(model)
