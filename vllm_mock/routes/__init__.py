"""The HTTP routes, in three blueprints: openai, vllm and health."""
