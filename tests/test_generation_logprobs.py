"""Log probabilities: what they contain, and that they are possible."""

import math

import pytest
from generation_support import char_tokenizer, embedded_tokenizer, generator, plan_one, say

from vllm_mock.generation.logprobs import MAX_ALL


def planned(top, **parameters):
    return plan_one(generator(), **{"max_tokens": 300, "ignore_eos": True, "logprobs": top} | parameters)


def check_entry(entry, top):
    ids = [token_id for token_id, _ in entry.top]
    values = [logprob for _, logprob in entry.top]
    assert entry.top[0] == (entry.token_id, entry.logprob)
    assert entry.top_tokens[0] == entry.token
    assert len(ids) == len(set(ids)) == len(entry.top_tokens)
    assert len(ids) == (top if entry.rank <= top else top + 1)
    assert values[1:] == sorted(values[1:], reverse=True)
    assert all(value < 0 for value in values)
    assert math.fsum(map(math.exp, values)) <= 1 + 1e-9
    assert all(0 <= i < embedded_tokenizer().vocab_size for i in ids)


def test_none_unless_asked_for():
    assert planned(None).logprobs is None


@pytest.mark.parametrize("top", [0, 1, 2, 5, 20])
def test_an_entry_per_token_with_the_token_first_and_k_or_k_plus_one_candidates(top):
    choice = planned(top)
    assert [entry.token_id for entry in choice.logprobs] == choice.token_ids
    for entry in choice.logprobs:
        check_entry(entry, top)
    ranks = [entry.rank for entry in choice.logprobs]
    assert 0.7 < ranks.count(1) / len(ranks) < 1


def test_greedy_tokens_are_the_likeliest():
    choice = planned(3, temperature=0)
    assert {entry.rank for entry in choice.logprobs} == {1}
    assert all(len(entry.top) == 3 for entry in choice.logprobs)


def test_ranks_count_up_past_the_rank_of_the_token():
    entry = next(entry for entry in planned(4).logprobs if entry.rank == 2)
    assert [rank for _, _, _, rank in entry.ranked()] == [2, 1, 3, 4]
    by_rank = sorted((rank, logprob) for _, _, logprob, rank in entry.ranked())
    assert [logprob for _, logprob in by_rank] == sorted((logprob for _, logprob in by_rank), reverse=True)


def test_texts_are_those_of_the_tokens():
    tokenizer = embedded_tokenizer()
    entries = planned(5).logprobs
    assert entries
    for entry in entries:
        assert entry.top_tokens == [tokenizer.decode([token_id]) for token_id, _ in entry.top]


def test_fixed_answers_have_fixed_log_probabilities():
    assert planned(2, seed=1).logprobs == planned(2, seed=1).logprobs
    assert planned(2, seed=1).logprobs != planned(2, seed=2).logprobs


def test_token_texts_show_what_the_stream_holds_back():
    choice = say("€a", logprobs=0, stop=["zzz"])
    assert choice.deltas == ["", "", "", "", "€a"]
    assert [entry.token for entry in choice.logprobs] == ["", "", "€", "a", "</s>"]


def test_the_end_token_and_a_stop_string_have_entries():
    choice = say("Hello", logprobs=0, stop=["ll"])
    assert [entry.token for entry in choice.logprobs] == ["H", "e", "l", "l"]
    assert choice.text == "He"


def test_all_alternatives_are_limited_by_the_vocabulary_and_by_a_number_that_can_be_sent():
    vocab_size = char_tokenizer().vocab_size
    small = plan_one(generator(tokenizer=char_tokenizer()), max_tokens=4, ignore_eos=True, logprobs=-1, temperature=0)
    assert [len(entry.top) for entry in small.logprobs] == [vocab_size] * 4
    assert {"</s>", "", "a"} <= set(small.logprobs[0].top_tokens)
    assert [len(entry.top) for entry in planned(-1, max_tokens=2, temperature=0).logprobs] == [MAX_ALL] * 2


def test_prompt_log_probabilities_begin_with_none():
    prompt = embedded_tokenizer().encode("It is a truth universally acknowledged, that a single man")
    entries = generator().prompt_logprobs(prompt, 2)
    assert entries[0] is None
    assert [entry.token_id for entry in entries[1:]] == prompt[1:]
    for entry in entries[1:]:
        check_entry(entry, 2)
    assert len({entry.rank for entry in entries[1:]}) > 2
    assert generator("--seed", "9").prompt_logprobs(prompt, 2) == entries


def test_prompts_of_one_token_or_none():
    assert generator().prompt_logprobs([5], 1) == [None]
    assert generator().prompt_logprobs([], 1) == []
