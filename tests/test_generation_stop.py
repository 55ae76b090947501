"""Stop strings, stop token ids and what a stream shows meanwhile, as vLLM 0.33.0 answered the same requests."""

import pytest
from generation_support import char_tokenizer, generator, plan_one, say

from vllm_mock.generation.stop import first_stop_string, hold_back

EOS = 257


@pytest.mark.parametrize(
    ("text", "stop", "deltas", "reason"),
    [
        ("Hi there", ["e"], ["H", "i", " ", "t", "h", ""], "e"),
        ("Hello there friend", ["there"], ["", "", "", "", *"Hello ", ""], "there"),
        ("Hello there friend", ["re f", "there"], ["", "", "", "", *"Hello ", ""], "there"),
        ("Hello there", ["zzzzz"], ["", "", "", "", *"Hello t", "here"], None),
        ("aé€😀bcdef", ["bcd"], ["", "", "", "", "", "a", "", "", "", "é", "€", "😀", ""], "bcd"),
        ("ab😀cd", ["b😀c", "zzzz"], ["", "", "", "", "", "", "a"], "b😀c"),
        ("ab\ufffdcd", ["c"], ["a", "b", "", "", "", "\ufffd"], "c"),
        ("ab<s>cd", ["bc"], ["", "a", "", ""], "bc"),
    ],
)
def test_text_that_may_become_a_stop_string_is_held_back(text, stop, deltas, reason):
    choice = say(text, stop=stop)
    assert choice.deltas == deltas
    assert (choice.finish_reason, choice.stop_reason) == ("stop", reason)
    assert choice.token_ids == [*char_tokenizer().encode(text, False), EOS][: len(deltas)]


@pytest.mark.parametrize(
    ("stop", "last", "reason"),
    [
        (["<th", "<t"], "a", "<t"),
        (["hi", "think"], "a<t", "hi"),
        (["think", "hi"], "a<t", "hi"),
        (["k", "<think>"], "a<thin", "k"),
        (["n", "in"], "a<thi", "n"),
        (["in", "n"], "a<th", "in"),
        (["think", "k"], "a<", "think"),
        (["k", "think"], "a<thin", "k"),
        (["zzzzzzzzzzzz", "th"], "a<", "th"),
    ],
)
def test_of_several_stop_strings_in_one_token_the_first_to_end_wins_then_the_first_listed(stop, last, reason):
    choice = say("a<think>b", stop=stop)
    assert choice.token_ids == [64, 260]
    assert (choice.text, choice.stop_reason) == (last, reason)


@pytest.mark.parametrize(
    ("text", "stop", "deltas"),
    [
        ("Hello there friend", "there", list("Hello there")),
        ("a<think>b", "hi", ["a", "<thi"]),
    ],
)
def test_an_included_stop_string_is_shown_and_nothing_is_held_back(text, stop, deltas):
    choice = say(text, stop=[stop], include_stop_str_in_output=True)
    assert choice.deltas == deltas
    assert choice.stop_reason == stop


@pytest.mark.parametrize(
    ("text", "stop", "min_tokens", "deltas"),
    [
        ("abcabcabc", "ab", 1, ["", ""]),
        ("abcabcabc", "ab", 2, ["", "a", "b", "c", ""]),
        ("abcabcabc", "ab", 4, ["", "a", "b", "c", ""]),
        ("abcabcabc", "ab", 5, ["", "a", "b", "c", "a", "b", "c", ""]),
        ("aaabaaa", "a", 1, ["a", ""]),
        ("aaabaaa", "a", 3, ["a", "a", "a", "b", ""]),
        ("xabcdef", "bcd", 3, ["", "", "x", "a", ""]),
    ],
)
def test_stop_strings_count_only_when_they_end_after_min_tokens(text, stop, min_tokens, deltas):
    choice = say(text, stop=[stop], min_tokens=min_tokens)
    assert choice.deltas == deltas
    assert choice.stop_reason == stop


@pytest.mark.parametrize(
    ("parameters", "deltas", "reason"),
    [
        ({"stop_token_ids": [65]}, ["a", ""], 65),
        ({"stop_token_ids": [64]}, [""], 64),
        ({"stop_token_ids": [65, 66], "max_tokens": 2}, ["a", ""], 65),
        ({"stop_token_ids": [65], "include_stop_str_in_output": True}, ["a", "b"], 65),
        ({"stop_token_ids": [65], "stop": ["b"]}, ["a", ""], 65),
        ({"stop_token_ids": [65], "stop": ["b"], "include_stop_str_in_output": True}, ["a", "b"], "b"),
        ({"stop_token_ids": [64], "min_tokens": 1}, ["a", "b", "c", ""], None),
        ({"stop_token_ids": [EOS]}, ["a", "b", "c", ""], None),
    ],
)
def test_stop_token_ids(parameters, deltas, reason):
    choice = say("abc", **parameters)
    assert choice.deltas == deltas
    assert (choice.finish_reason, choice.stop_reason) == ("stop", reason)
    assert len(choice.token_ids) == len(deltas)


@pytest.mark.parametrize(
    ("text", "parameters", "deltas", "reason"),
    [
        ("ab", {"skip_special_tokens": False}, ["a", "b", ""], None),
        ("ab", {"include_stop_str_in_output": True}, ["a", "b", ""], None),
        (
            "ab",
            {"skip_special_tokens": False, "include_stop_str_in_output": True},
            ["a", "b", "</s>"],
            None,
        ),
        (
            "ab",
            {"skip_special_tokens": False, "include_stop_str_in_output": True, "stop": ["</s>"]},
            ["a", "b", "</s>"],
            "</s>",
        ),
        ("ab", {"skip_special_tokens": False, "stop": ["</s>"]}, ["", "", "ab"], None),
        ("ab<s>cd", {"skip_special_tokens": False, "stop": ["<s>"]}, ["", "", "ab"], "<s>"),
        (
            "a\ufffd",
            {"skip_special_tokens": False, "include_stop_str_in_output": True},
            ["a", "", "", "", "\ufffd</s>"],
            None,
        ),
    ],
)
def test_the_end_token_and_special_tokens_show_only_when_asked_for(text, parameters, deltas, reason):
    choice = say(text, **parameters)
    assert choice.deltas == deltas
    assert (choice.finish_reason, choice.stop_reason) == ("stop", reason)


def test_held_text_is_released_at_the_bound():
    choice = say("abc", stop=["zzz"], max_tokens=2)
    assert (choice.deltas, choice.finish_reason, choice.stop_reason) == (["", "ab"], "length", None)


def test_a_stop_string_at_the_bound_stops():
    choice = say("abc", stop=["ab"], max_tokens=2)
    assert (choice.deltas, choice.finish_reason, choice.stop_reason) == (["", ""], "stop", "ab")


def test_a_stop_string_in_generated_prose():
    made = generator("--seed", "4")
    free = plan_one(made, max_tokens=300, seed=1, ignore_eos=True)
    stopped = plan_one(made, max_tokens=300, seed=1, ignore_eos=True, stop=[" the "])
    cut = free.text.index(" the ")
    assert stopped.text == free.text[:cut]
    assert stopped.token_ids == free.token_ids[: len(stopped.token_ids)]
    assert "".join(free.deltas[: len(stopped.token_ids) - 1]) < free.text[: cut + 5]
    assert (stopped.finish_reason, stopped.stop_reason) == ("stop", " the ")


def test_first_stop_string_may_begin_in_the_exempt_text():
    assert first_stop_string("abcab", ["ab"], 2) == ("ab", 3, 5)
    assert first_stop_string("abcab", ["bca"], 3) == ("bca", 1, 4)
    assert first_stop_string("abcab", ["bc"], 3) is None


def test_hold_back_delays_characters_not_tokens():
    assert hold_back(["Hel", "lo", "", " you"], 9, 2) == ["H", "el", "", "lo you"]
    assert hold_back(["Hel", "lo"], 4, 0) == ["Hel", "l"]
