"""How many tokens an answer would have if nothing cut it short."""

from .draws import Draws

# One token of text and the end-of-sequence token: an answer that says nothing would help no client.
SHORTEST_ANSWER = 2


def natural_length(draws: Draws, mean: float, std_dev: float, min_tokens: int) -> int:
    """Draw the length of an answer in tokens, its end-of-sequence token included.

    The end-of-sequence token cannot come before `min_tokens` other tokens, hence the lower bound of one more.
    """
    drawn = round(draws.normal(mean, std_dev))
    return max(drawn, SHORTEST_ANSWER, min_tokens + 1 if min_tokens > 0 else 0)
