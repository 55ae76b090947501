"""How long answers are, why they end, and when they repeat."""

import os
import subprocess
import sys
import threading
from collections import Counter
from statistics import mean, stdev

import pytest
from generation_support import char_tokenizer, embedded_tokenizer, generator, plan_one, say

from vllm_mock.generation import SamplingSpec

PROMPT = [5, 6, 7]


def texts(made, count=6, **parameters):
    return [plan_one(made, max_tokens=80, **parameters).text for _ in range(count)]


def test_answers_vary_but_a_restart_with_the_same_seed_repeats_them():
    first = texts(generator("--seed", "3"))
    assert len(set(first)) == len(first)
    assert texts(generator("--seed", "3")) == first
    assert texts(generator("--seed", "4")) != first


@pytest.mark.parametrize("fixed", [{"seed": 0}, {"seed": -5}, {"seed": 2**63}, {"temperature": 0}])
def test_a_seed_or_temperature_zero_fixes_the_answer_to_a_prompt(fixed):
    made = generator("--seed", "1")
    assert len(set(texts(made, **fixed))) == 1
    assert texts(generator("--seed", "2"), count=1, **fixed) == texts(made, count=1, **fixed)
    other_prompt = plan_one(made, [5, 6, 8], max_tokens=80, **fixed)
    assert other_prompt.text != texts(made, count=1, **fixed)[0]


def test_seeds_differ_from_each_other_and_greedy_ignores_them():
    made = generator()
    seeded = [plan_one(made, max_tokens=80, seed=seed, temperature=1.0).text for seed in range(8)]
    assert len(set(seeded)) == 8
    greedy = [plan_one(made, max_tokens=80, seed=seed, temperature=0.0).text for seed in range(8)]
    assert len(set(greedy)) == 1


def test_a_fixed_answer_is_the_same_in_every_process():
    script = (
        "from generation_support import generator, plan_one\n"
        "print(plan_one(generator(), [1, 2, 3], max_tokens=60, seed=11).token_ids)"
    )
    here = plan_one(generator(), [1, 2, 3], max_tokens=60, seed=11).token_ids
    for salt in ("1", "2"):
        environment = os.environ | {
            "PYTHONHASHSEED": salt,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        output = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert output.strip() == str(here)


def test_a_smaller_bound_cuts_the_same_answer():
    made = generator()
    long = plan_one(made, max_tokens=5000, seed=1)
    short = plan_one(made, max_tokens=30, seed=1)
    assert short.token_ids == long.token_ids[:30]
    assert (long.finish_reason, short.finish_reason) == ("stop", "length")


def test_lengths_follow_the_normal_distribution_of_the_settings():
    made = generator("--output-tokens-mean", "200", "--output-tokens-std-dev", "30")
    lengths = [len(plan_one(made, max_tokens=10_000).token_ids) for _ in range(800)]
    assert mean(lengths) == pytest.approx(200, abs=5)
    assert stdev(lengths) == pytest.approx(30, rel=0.15)


def test_the_bound_cuts_longer_answers_only():
    made = generator("--output-tokens-mean", "100", "--output-tokens-std-dev", "40")
    reasons = Counter()
    for _ in range(200):
        choice = plan_one(made, max_tokens=100)
        reasons[choice.finish_reason] += 1
        assert choice.stop_reason is None
        if choice.finish_reason == "length":
            assert len(choice.token_ids) == 100
            assert embedded_tokenizer().eos_token_id not in choice.token_ids
        else:
            assert choice.token_ids.index(embedded_tokenizer().eos_token_id) == len(choice.token_ids) - 1
            assert choice.deltas[-1] == ""
    assert 60 < reasons["length"] < 140


def test_an_answer_has_at_least_a_word():
    made = generator("--output-tokens-mean", "1", "--output-tokens-std-dev", "0")
    choice = plan_one(made, max_tokens=100)
    assert len(choice.token_ids) == 2
    assert choice.text
    assert plan_one(made, max_tokens=1).finish_reason == "length"


@pytest.mark.parametrize("bound", [1, 7, 500, 9000])
def test_ignore_eos_gives_exactly_the_bound(bound):
    choice = plan_one(generator(), max_tokens=bound, ignore_eos=True, min_tokens=bound)
    assert (len(choice.token_ids), choice.finish_reason) == (bound, "length")
    assert embedded_tokenizer().eos_token_id not in choice.token_ids


def test_the_end_comes_after_min_tokens_other_tokens():
    made = generator("--output-tokens-mean", "10", "--output-tokens-std-dev", "2")
    choice = plan_one(made, max_tokens=500, min_tokens=90)
    assert (len(choice.token_ids), choice.finish_reason) == (91, "stop")
    assert plan_one(made, max_tokens=90, min_tokens=90).finish_reason == "length"


@pytest.mark.parametrize("fixed", [{}, {"seed": 4}])
def test_choices_of_one_request_differ(fixed):
    made = generator()
    choices = made.plan(SamplingSpec(60, n=12, **fixed), PROMPT)
    assert len({tuple(choice.token_ids) for choice in choices}) == 12
    assert (made.plan(SamplingSpec(60, n=12, **fixed), PROMPT) == choices) == bool(fixed)


def test_choices_too_short_to_differ_are_given_all_the_same():
    choices = generator().plan(SamplingSpec(1, n=30), PROMPT)
    assert [len(choice.token_ids) for choice in choices] == [1] * 30


def test_echo_repeats_the_last_user_message():
    choice = say("Say this!")
    assert choice.text == "Say this!"
    assert choice.token_ids == [*char_tokenizer().encode("Say this!", add_special_tokens=False), 257]
    assert (choice.finish_reason, choice.stop_reason) == ("stop", None)


@pytest.mark.parametrize(
    ("text", "parameters", "said", "count", "reason"),
    [
        ("abc", {"max_tokens": 3}, "abc", 3, "length"),
        ("abc", {"max_tokens": 4}, "abc", 4, "stop"),
        ("abc", {"max_tokens": 8, "ignore_eos": True}, "abcabcab", 8, "length"),
        ("abc", {"min_tokens": 7}, "abcabca", 8, "stop"),
        ("a</s>b", {}, "ab", 3, "stop"),
        ("", {}, "", 1, "stop"),
        ("</s>", {}, "", 1, "stop"),
    ],
)
def test_echo_within_its_bounds(text, parameters, said, count, reason):
    choice = say(text, **parameters)
    assert (choice.text, len(choice.token_ids), choice.finish_reason) == (said, count, reason)


def test_echo_of_nothing_still_fills_what_is_asked_for():
    choice = say("", max_tokens=40, ignore_eos=True)
    assert (len(choice.token_ids), choice.finish_reason) == (40, "length")


def test_plans_are_independent_of_each_other():
    made = generator()
    first = plan_one(made, max_tokens=5000, seed=1)
    ids, deltas = list(first.token_ids), list(first.deltas)
    first.token_ids.clear()
    first.deltas.clear()
    again = plan_one(made, max_tokens=5000, seed=1)
    assert (again.token_ids, again.deltas) == (ids, deltas)


def test_warm_up_and_plans_may_run_at_the_same_time():
    made = generator()
    results = []
    threads = [threading.Thread(target=made.warm_up)]
    threads += [
        threading.Thread(target=lambda: results.append(plan_one(made, max_tokens=50, seed=2).text)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(results)) == 1
