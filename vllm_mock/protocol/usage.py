"""The usage objects of answers and chunks: counts of tokens in vLLM's key order."""

from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    """Token counts of one request. What is None was not asked for."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    created_cache_tokens: int | None = None
    reasoning_tokens: int | None = None

    def counts(self) -> str:
        """The three counts, without the enclosing braces."""
        total = self.prompt_tokens + self.completion_tokens
        return (
            f'"prompt_tokens":{self.prompt_tokens},"total_tokens":{total},"completion_tokens":{self.completion_tokens}'
        )

    def body(self) -> str:
        """The `usage` of a whole answer: every key, null where there is nothing to say."""
        details = "null"
        if self.cached_tokens is not None:
            created = "null" if self.created_cache_tokens is None else self.created_cache_tokens
            details = (
                f'{{"cached_tokens":{self.cached_tokens},"created_cache_tokens":{created},"multimodal_tokens":null}}'
            )
        return f'{{{self.counts()},"prompt_tokens_details":{details},{self.reasoning()}}}'

    def final_chunk(self) -> str:
        """The `usage` of a stream's last chunk: keys without a value are left out."""
        details = ""
        if self.cached_tokens is not None:
            created = (
                "" if self.created_cache_tokens is None else f',"created_cache_tokens":{self.created_cache_tokens}'
            )
            details = f',"prompt_tokens_details":{{"cached_tokens":{self.cached_tokens}{created}}}'
        if self.reasoning_tokens is not None:
            details += f",{self.reasoning()}"
        return f"{{{self.counts()}{details}}}"

    def reasoning(self) -> str:
        """The key `completion_tokens_details` and its value."""
        if self.reasoning_tokens is None:
            return '"completion_tokens_details":null'
        return f'"completion_tokens_details":{{"reasoning_tokens":{self.reasoning_tokens}}}'
