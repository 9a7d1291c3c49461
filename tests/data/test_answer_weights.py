"""Answer weights: what the experts say, how they are blended, and which answer is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from personaagent.data.answer_weights import (
    LEAST_BELIEF,
    AnswerWeights,
    Distribution,
    Experts,
    best_answer,
    blended,
    normalised,
    prior_of,
    uniform,
    votes_of,
)

ANSWERS = ("1", "2", "3")
distributions = some.tuples(*[some.floats(0.001, 1)] * 3).map(
    lambda shares: normalised(dict(zip(ANSWERS, shares, strict=True)))
)
beliefs = some.floats(LEAST_BELIEF, 4)


def weights(a: float = 1.0, b: float = 1.0, c: float = 0.0, leaning: Distribution | None = None) -> AnswerWeights:
    even = uniform(ANSWERS)
    return AnswerWeights(lm="l", task="t", form="f", leaning=leaning or even, base_rate=even, a=a, b=b, c=c)


@given(distributions, distributions, distributions, beliefs, beliefs, beliefs)
def test_a_blend_is_a_distribution(
    lm: Distribution, prior: Distribution, memory: Distribution, a: float, b: float, c: float
) -> None:
    found = blended(Experts(lm=lm, prior=prior, memory=memory), weights(a, b, c))
    assert list(found) == list(ANSWERS)
    assert sum(found.values()) == pytest.approx(1)


@given(distributions, some.lists(some.sampled_from([*ANSWERS, "not an answer"])), some.data())
def test_priors_and_votes_are_distributions(base: Distribution, past: list[str], data: some.DataObject) -> None:
    prior = prior_of(past, base)
    alike = data.draw(some.lists(some.floats(-1, 1), min_size=len(past), max_size=len(past)))
    for found in (prior, votes_of(alike, past, prior)):
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) > 0


@given(distributions, distributions)
def test_an_lm_believed_alone_is_given_back(lm: Distribution, prior: Distribution) -> None:
    assert blended(Experts(lm=lm, prior=prior, memory=prior), weights(b=0)) == pytest.approx(lm)


@given(distributions, distributions)
def test_an_lm_that_is_hardly_believed_leaves_the_prior(lm: Distribution, prior: Distribution) -> None:
    even = Experts(lm=uniform(ANSWERS), prior=prior, memory=prior)
    assert blended(even, weights(a=LEAST_BELIEF)) == pytest.approx(prior)
    torn = blended(Experts(lm=lm, prior=prior, memory=prior), weights(a=LEAST_BELIEF))
    assert torn == pytest.approx(prior, rel=0.5)


def test_memory_that_is_believed_replaces_the_prior() -> None:
    prior, memory = {"1": 0.6, "2": 0.2, "3": 0.2}, {"1": 0.1, "2": 0.8, "3": 0.1}
    assert blended(Experts(lm=uniform(ANSWERS), prior=prior, memory=memory), weights(c=1.0)) == pytest.approx(memory)


def test_a_users_answers_outweigh_the_base_rate_as_they_grow_in_number() -> None:
    few, many = (prior_of(["2"] * number, uniform(ANSWERS))["2"] for number in (1, 100))
    assert few == pytest.approx((1 + 5 / 3) / 6)
    assert many > 0.95
    assert prior_of([], uniform(ANSWERS)) == uniform(ANSWERS)


def test_the_likest_question_has_the_most_votes() -> None:
    votes = votes_of([0.9, 0.1, 0.1], ["1", "2", "2"], uniform(ANSWERS))
    assert max(votes, key=votes.__getitem__) == "1"
    alike = votes_of([0.5, 0.5, 0.5], ["1", "2", "2"], uniform(ANSWERS))
    assert max(alike, key=alike.__getitem__) == "2"
    assert votes_of([], [], {"1": 0.7, "2": 0.2, "3": 0.1}) == {"1": 0.7, "2": 0.2, "3": 0.1}


def test_multipliers_are_largest_for_what_the_lm_says_least() -> None:
    factors = weights(leaning={"1": 0.8, "2": 0.15, "3": 0.05}).multipliers
    assert list(factors) == sorted(factors, key=factors.__getitem__)
    assert sum(factors.values()) == pytest.approx(1)


@pytest.mark.parametrize(("metric", "answer"), [("accuracy", "1"), ("mae", "2"), ("rmse", "3")])
def test_the_answer_is_what_the_metric_rewards(metric: str, answer: str) -> None:
    shares = {"1": 0.4, "2": 0.12, "3": 0.12, "4": 0.0, "5": 0.36}
    assert best_answer(shares, metric) == answer


@given(distributions)
def test_the_median_has_at_most_half_on_either_side(shares: Distribution) -> None:
    middle = best_answer(shares, "mae")
    below = sum(share for answer, share in shares.items() if answer < middle)
    above = sum(share for answer, share in shares.items() if answer > middle)
    assert max(below, above) <= 0.5 + 1e-9
