"""What is said: an introduction, then whole sentences of the corpus."""

import pytest
from generation_support import POD, char_tokenizer, embedded_tokenizer, generator, plan_one

from vllm_mock.generation.draws import Draws
from vllm_mock.generation.text import Corpus, sentence_starts

TEXT = 'Start. One two. "Three?" Four Mr. Five! six 7. Éight'


def letters(text):
    return list(range(len(text))), list(text)


def test_sentences_start_with_their_white_space_after_an_end_that_is_no_title():
    starts = sentence_starts(list(TEXT))
    assert [TEXT[start : start + 4] for start in starts] == [" One", ' "Th', " Fou", " Éig"]


def test_sentences_that_start_inside_a_token_are_left_out():
    assert sentence_starts(["One.", " Two", ". Th", "ree.", " Four"]) == [1, 4]


def test_the_corpus_is_a_ring_of_whole_sentences():
    corpus = Corpus(*letters(TEXT))
    ring = "".join(corpus.deltas)
    assert ring == ' One two. "Three?" Four Mr. Five! six 7.'
    start = len(ring) - 3
    passage = corpus.passage(start, 3 * len(ring) + 5)
    assert "".join(passage.deltas) == ring[start:] + 3 * ring + ring[:2]
    assert len(passage.ids) == 3 * len(ring) + 5
    assert passage.ids[:3] == corpus.ids[-3:]


@pytest.mark.parametrize("text", ["no sentence at all", "One. Two", "x"])
def test_a_corpus_without_sentences_is_read_from_its_start(text):
    corpus = Corpus(*letters(text))
    assert corpus.sentence_start(Draws(1), 5) == 0
    assert "".join(corpus.passage(0, 2 * len(text)).deltas) == 2 * text


def test_an_empty_corpus_is_refused():
    with pytest.raises(ValueError, match="empty"):
        Corpus([], [])


@pytest.mark.parametrize("length", [9, 18, 22, 31, 40, 49])
def test_a_start_is_found_that_lets_the_passage_end_with_a_sentence(length):
    corpus = Corpus(*letters(TEXT))
    for key in range(20):
        start = corpus.sentence_start(Draws(key), length)
        text = "".join(corpus.passage(start, length).deltas)
        assert text.endswith((" One two.", '"Three?"', "six 7."))
        assert start in (0, 9, 18)


def test_without_a_fitting_end_any_sentence_may_start():
    corpus = Corpus(*letters(TEXT))
    assert {corpus.sentence_start(Draws(key), 5) for key in range(40)} == {0, 9, 18}


@pytest.mark.parametrize("mean", [40, 75, 150, 1200])
def test_answers_name_model_and_pod_first_and_end_with_a_sentence(mean):
    made = generator("--output-tokens-mean", str(mean), "--output-tokens-std-dev", "0")
    for _ in range(30):
        choice = plan_one(made, max_tokens=5000)
        assert len(choice.token_ids) == mean
        first_sentence = choice.text[:70]
        assert "tiny" in first_sentence
        assert POD in first_sentence
        assert choice.text.rstrip("\"'”’)")[-1] in ".!?"


def test_another_model_name_can_be_given():
    assert "my-adapter" in plan_one(generator(), max_tokens=500, model="my-adapter").text[:70]


@pytest.mark.parametrize("tokenizer", [embedded_tokenizer, char_tokenizer])
def test_text_and_token_ids_agree(tokenizer):
    made = generator(tokenizer=tokenizer())
    for max_tokens in (1, 2, 50, 3000):
        choice = plan_one(made, max_tokens=max_tokens, ignore_eos=True)
        assert len(choice.token_ids) == len(choice.deltas) == max_tokens
        assert tokenizer().decode(choice.token_ids) == choice.text
        assert all(choice.deltas)


def test_long_answers_go_round_the_corpus():
    choice = plan_one(generator(), max_tokens=150_000, ignore_eos=True)
    assert len(choice.token_ids) == 150_000
    assert embedded_tokenizer().decode(choice.token_ids) == choice.text


def test_many_model_names_do_not_pile_up():
    made = generator()
    for index in range(1200):
        plan_one(made, max_tokens=1, model=f"model-{index}")
    assert len(made._material.introductions._cache) <= 1024
