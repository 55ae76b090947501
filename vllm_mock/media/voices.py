"""The names of the voices that speech can be made with."""

# vllm-omni's, which GET /v1/audio/voices lists, and OpenAI's.
OMNI = ("aiden", "dylan", "eric", "one_anna", "ryan", "serena", "sohee", "uncle_fu", "vivian")
OPENAI = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
DEFAULT = "vivian"


def is_known(name: str) -> bool:
    """Whether there is a voice of that name, in upper or lower case."""
    return name.lower() in OMNI or name.lower() in OPENAI
