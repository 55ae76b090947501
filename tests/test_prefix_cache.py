"""What an answer says of the prefix cache."""

from server import INSTANT, TINY

FLAGS = (*TINY, *INSTANT, "--block-size", "4", "--enable-prompt-tokens-details", "--num-gpu-blocks-override", "100")


def test_usage_tells_what_a_request_has_added_to_the_cache(servers):
    server = servers.get(*FLAGS)

    def details(text):
        body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 1}
        usage = server.post("/v1/chat/completions", body).json()["usage"]
        told = usage["prompt_tokens_details"]
        return usage["prompt_tokens"], told["cached_tokens"], told["created_cache_tokens"]

    tokens, cached, created = details("x" * 30)
    assert (cached, created) == (0, tokens // 4 * 4)
    tokens, cached, created = details("x" * 30 + "y" * 10)
    assert cached > 0
    assert cached + created == tokens // 4 * 4
