"""What the tests of the generator share."""

from functools import cache
from pathlib import Path

from settings_support import load

from vllm_mock.generation import Generator, SamplingSpec
from vllm_mock.tokenizer import load_tokenizer

CHAR_TOKENIZER = Path(__file__).parent / "fixtures" / "char_tokenizer"
POD = "pod-7"


@cache
def embedded_tokenizer():
    return load_tokenizer(load())


@cache
def char_tokenizer():
    """One ASCII character is one token, other characters have a token per UTF-8 byte; </s> (257) ends a sequence."""
    return load_tokenizer(load("--tokenizer", str(CHAR_TOKENIZER)))


def generator(*argv, tokenizer=None):
    """A new generator, with the embedded tokenizer unless another is given."""
    settings = load("--served-model-name", "tiny", *argv, environ={"POD_NAME": POD})
    return Generator(settings, tokenizer or embedded_tokenizer())


def plan_one(made, prompt=(1, 2, 3), **parameters):
    """The only answer of a request."""
    (choice,) = made.plan(SamplingSpec(**parameters), list(prompt))
    return choice


@cache
def _echo_generator():
    return generator("--mode", "echo", tokenizer=char_tokenizer())


def say(text, **parameters):
    """The answer `text` of the character-level tokenizer."""
    return plan_one(_echo_generator(), last_user_text=text, **{"max_tokens": 60} | parameters)
