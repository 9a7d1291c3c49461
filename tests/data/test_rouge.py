"""ROUGE, held to the package that the official scorer uses. All texts are invented."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personaagent.data.rouge import rouge

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
    scored = rouge(prediction, gold)
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
    assert rouge(prediction, gold) == pytest.approx((rouge1, rouge_l))
