"""What goes over the wire: request models, errors, responses, and vLLM's order of checks.

A request with several faults is answered with the first one in this order (found by sending requests with two
faults to vLLM 0.33.0):

1. `parsing.parse_request`
   a. the JSON of a body that claims to be JSON, then the media type (family A, `body`);
   b. the model's `precheck` of the raw body (family B). Chat: messages that cannot be looped over, both
      continue_final_message and add_generation_prompt, tools and tool_choice, structured_outputs (how many,
      structural tag), logprobs, stream_options, response_format, tool_calls that cannot be looped over,
      cache_salt. Completions: number of prompts, no prompt, stream_options, logprobs, structured_outputs,
      response_format, cache_salt;
   c. the fields (family A, all of them together). A bad thinking_token_budget, structured_outputs without or
      with two constraints, and a bad repetition_detection end this at once with family B, in field order;
   d. chat: the tool calls inside messages (family A).
2. The model's name: `ApiError.model_not_found`.
3. `stages.check_chat`: tool flags, untrusted chat template, untrusted media arguments, max_tokens and
   truncate_prompt_tokens beyond the context, content parts and empty conversation, the template, length in
   characters, length in tokens, values of the sampling parameters.
   `stages.check_completion`: suffix, prompt_logprobs with prompt_embeds, untrusted media arguments, lengths
   beyond the context, prompt_embeds, no prompts, lengths in characters of all prompts, lengths in tokens, values
   of the sampling parameters for each prompt.
   The order of the values is in `sampling.check_values`.
4. `engine_checks.check_engine_input` for each prompt: logprobs counts, token ids out of the vocabulary,
   structured outputs, thinking budget, data parallel rank, empty or too long prompt, prompt ids out of the
   vocabulary, routed experts, bad words. vLLM makes these when it starts to generate: a streamed request gets
   200 and the error as an event, then [DONE].
5. Queue limits: `ApiError.queue_full` (before the headers, streamed or not).

Nothing here is imported with the package: pydantic costs tens of milliseconds, which a starting server does
not have. `errors`, `limits` and `body` are light; `warm_up()` imports and builds the rest, for a thread that runs
after the start.
"""

import os


def warm_up() -> None:
    """Imports the request models and builds their validators (about 0.3 s of CPU, once)."""
    # It would look for plug-ins among all installed packages.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from vllm_mock.protocol import engine_checks, stages  # noqa: F401 - imported here, used by the routes
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.tokenize import DetokenizeRequest, TokenizeRequest

    # Those of pooling are built by the first request: most servers get none.
    for model in (ChatCompletionRequest, CompletionRequest, TokenizeRequest, DetokenizeRequest):
        model.model_rebuild()
