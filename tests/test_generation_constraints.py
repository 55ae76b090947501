"""allowed_token_ids, logit_bias and bad_words."""

import pytest
from generation_support import char_tokenizer, embedded_tokenizer, generator, plan_one, say

EOS = 257
A, B = 64, 65


def test_only_allowed_tokens_appear_so_only_the_bound_ends_the_answer():
    choice = plan_one(generator(), max_tokens=200, allowed_token_ids=[70, 80, 90])
    assert set(choice.token_ids) == {70, 80, 90}
    assert (len(choice.token_ids), choice.finish_reason) == (200, "length")
    assert embedded_tokenizer().decode(choice.token_ids) == choice.text


def test_an_allowed_end_token_ends_the_answer():
    eos = embedded_tokenizer().eos_token_id
    choice = plan_one(generator(), max_tokens=5000, allowed_token_ids=[70, 80, eos])
    assert choice.token_ids.index(eos) == len(choice.token_ids) - 1
    assert (choice.finish_reason, choice.stop_reason) == ("stop", None)


def test_a_bias_of_minus_100_bans_a_token():
    made = generator()
    free = plan_one(made, max_tokens=300, ignore_eos=True, seed=1)
    banned = max(set(free.token_ids), key=free.token_ids.count)
    choice = plan_one(made, max_tokens=300, ignore_eos=True, seed=1, logit_bias={banned: -100})
    assert banned not in choice.token_ids
    assert len(choice.token_ids) == 300


def test_a_moderate_bias_changes_nothing():
    made = generator()
    free = plan_one(made, max_tokens=300, seed=1)
    assert plan_one(made, max_tokens=300, seed=1, logit_bias={free.token_ids[0]: -5}).text == free.text


@pytest.mark.parametrize(
    ("parameters", "token_ids", "reason"),
    [
        ({"logit_bias": {A: 100}, "max_tokens": 5}, [A] * 5, "length"),
        ({"logit_bias": {A: 100, B: 100}, "allowed_token_ids": [B, 70], "max_tokens": 4}, [B] * 4, "length"),
        ({"logit_bias": {B: -100}, "allowed_token_ids": [A, B], "max_tokens": 3}, [A] * 3, "length"),
        ({"logit_bias": {EOS: 100}}, [EOS], "stop"),
        ({"logit_bias": {EOS: 100}, "ignore_eos": True, "max_tokens": 3}, [EOS] * 3, "length"),
        ({"logit_bias": {EOS: -100}, "max_tokens": 7}, [A, B, A, B, A, B, A], "length"),
        ({"logit_bias": {A: -100}}, [B, B, EOS], "stop"),
        ({"bad_words": ["b"]}, [A, A, EOS], "stop"),
        ({"bad_words": ["a", "b"]}, [EOS], "stop"),
        ({"logit_bias": {A: -100, B: -100}}, [EOS], "stop"),
    ],
)
def test_constraints_on_an_echoed_text(parameters, token_ids, reason):
    choice = say("ab", **parameters)
    assert (choice.token_ids, choice.finish_reason) == (token_ids, reason)


def test_bad_words_never_appear_even_across_tokens():
    made = generator(tokenizer=char_tokenizer())
    free = plan_one(made, max_tokens=3000, ignore_eos=True, seed=1)
    words = ["the", "and", " a"]
    assert all(word in free.text for word in words)
    choice = plan_one(made, max_tokens=3000, ignore_eos=True, seed=1, bad_words=words)
    assert not any(word in choice.text for word in words)
    assert len(choice.token_ids) == 3000


def test_an_empty_list_of_bad_words_or_biases_is_no_constraint():
    assert say("ab", bad_words=[], logit_bias={}).text == "ab"


def test_constrained_answers_meet_stop_strings_too():
    choice = say("abcabc", logit_bias={A: -100}, stop=["cb"])
    assert (choice.text, choice.stop_reason) == ("b", "cb")
