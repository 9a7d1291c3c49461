"""Texts compared: by ROUGE as the official scorer's package computes it, and by letters. All texts are invented."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaagent.data.texts import ascii_words, letter_likeness, rouge, words_of_every_script

words = st.lists(
    st.sampled_from(["the", "goat", "Goat!", "wins", "a", "2nd", "cup", "—", "naïve", "x_y", "\n"]), max_size=12
)
texts = st.one_of(words.map(" ".join), st.text(max_size=20))


@pytest.mark.slow
@settings(deadline=None)  # importing rouge_score takes seconds
@given(texts, texts)
def test_it_is_the_rouge_of_rouge_score(prediction: str, gold: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rouge1", "rougeL"], use_stemmer=False).score(gold, prediction)
    scored = rouge(prediction, gold, ascii_words)
    assert scored.rouge1 == pytest.approx(expected["rouge1"].fmeasure)
    assert scored.rouge_l == pytest.approx(expected["rougeL"].fmeasure)


@pytest.mark.parametrize(
    ("prediction", "gold", "rouge1", "rouge_l"),
    [
        ("the goat wins the cup", "The goat wins the cup!", 1, 1),
        ("cup the wins goat the", "the goat wins the cup", 1, 0.6),
        ("the the the", "the goat", 0.4, 0.4),
        ("goat wins", "a goat never wins", 4 / 6, 4 / 6),
        ("", "goat", 0, 0),
        ("—", "—", 0, 0),
        ("goat", "", 0, 0),
    ],
)
def test_words_in_common_and_in_order(prediction: str, gold: str, rouge1: float, rouge_l: float) -> None:
    assert rouge(prediction, gold, ascii_words) == pytest.approx((rouge1, rouge_l))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Naïve Café, x_y!", "naïve café x y"),
        ("Тихий вечер", "тихий вечер"),
        ("हिन्दी में", "हिन्दी में"),
        ("ชา ร้อน", "ช า ร้ อ น"),
        ("茶屋へ2回", "茶 屋 へ 2 回"),
        ("tea茶time", "tea 茶 time"),
        ("🍵🌅 twice", "🍵 🌅 twice"),
        ("— !", ""),
    ],
)
def test_words_of_every_script(text: str, expected: str) -> None:
    assert " ".join(words_of_every_script(text)) == expected


@pytest.mark.parametrize("text", ["ร้านชาเงียบๆ ใกล้สวน", "静かな喫茶店", "安静的茶馆", "тихий вечер", "🍵"])
def test_a_perfect_answer_in_any_script_scores_one(text: str) -> None:
    assert rouge(text, text, words_of_every_script) == (1, 1)
    assert rouge(text, text, ascii_words) == (0, 0)


def nearest(query: str, *texts: str) -> str:
    return max(zip(letter_likeness(query, texts), texts, strict=True))[1]


def test_the_same_text_is_as_like_as_can_be_whatever_its_case_spacing_and_width() -> None:
    assert letter_likeness("A film?", ["a  FILM?", "soup"]) == [1.0, 0.0]
    assert letter_likeness("カフェ", ["ｶﾌｪ"]) == [1.0]


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("ร้านชาเงียบๆ", "ร้านชาใกล้สวน", "รถไฟไปทะเล"),
        ("静かな喫茶店", "駅前の喫茶店", "海へ行く電車"),
        ("安静的茶馆", "公园旁的茶馆", "去海边的火车"),
        ("🍵🌅", "🌅 🍵 🐟", "🚆🏖"),
    ],
    ids=["Thai", "Japanese", "Chinese", "emoji"],
)
def test_texts_that_share_parts_are_alike_in_any_script(query: str, near: str, far: str) -> None:
    assert nearest(query, far, near) == near


def test_a_text_without_letters_is_like_nothing() -> None:
    assert letter_likeness("", ["tea"]) == [0.0]


def test_only_the_beginning_of_a_long_text_is_compared() -> None:
    assert letter_likeness("tea " * 250, ["tea " * 250 + "and then soup " * 1000]) == [1.0]
