"""How far each expert is believed, fitted on made-up users of whom the truth is known."""

import random

import pytest

from personaagent.data.answer_weights import AnswerWeights, Distribution, Experts, blended, normalised, uniform
from personaagent.optimizers.calibration import (
    LEANING_STRENGTH,
    PRIOR_BELIEF,
    Observation,
    base_rate_of,
    fitted,
    leaning_of,
)

ANSWERS = ("a", "b", "c", "d")
EVEN = uniform(ANSWERS)
WEIGHTS = AnswerWeights(lm="l", task="t", form="f", leaning=EVEN, base_rate=EVEN)


def observations(number: int, a: float, b: float, c: float, seed: int = 1) -> list[Observation]:
    """Return interactions whose truth is drawn from what the experts say with these beliefs."""
    chance = random.Random(seed)
    believed = WEIGHTS.model_copy(update={"a": a, "b": b, "c": c})

    def says() -> Distribution:
        return normalised({answer: chance.gammavariate(0.7, 1) + 0.01 for answer in ANSWERS})

    made: list[Observation] = []
    for index in range(number):
        experts = Experts(lm=says(), prior=says(), memory=says())
        [truth] = chance.choices(ANSWERS, [blended(experts, believed)[answer] for answer in ANSWERS])
        made.append(Observation(f"user {index % 50}", experts, truth))
    return made


@pytest.mark.parametrize("beliefs", [(1.0, 1.0, 0.0), (0.5, 1.5, 0.8), (0.05, 1.0, 0.0), (1.5, 0.2, 0.6)])
def test_the_beliefs_that_made_the_truth_are_found(beliefs: tuple[float, float, float]) -> None:
    found = fitted(WEIGHTS, observations(3000, *beliefs))
    assert (found.a, found.b, found.c) == pytest.approx(beliefs, abs=0.15)
    assert (found.users, found.interactions) == (50, 3000)


def test_few_observations_change_little() -> None:
    def distance(number: int) -> float:
        found = fitted(WEIGHTS, observations(number, 0.05, 0.0, 2.0))
        return sum(abs(value - prior) for value, prior in zip((found.a, found.b, found.c), PRIOR_BELIEF, strict=True))

    assert distance(0) == 0
    assert distance(1) < distance(300) / 2


def test_the_same_observations_give_the_same_weights_in_any_order() -> None:
    made = observations(200, 0.5, 1.0, 0.5)
    assert fitted(WEIGHTS, made) == fitted(WEIGHTS, made)
    turned = fitted(WEIGHTS, made[::-1])
    assert (turned.a, turned.b, turned.c) == pytest.approx(
        (fitted(WEIGHTS, made).a, fitted(WEIGHTS, made).b, fitted(WEIGHTS, made).c), abs=1e-3
    )


def test_a_leaning_is_the_mean_with_a_few_questions_of_which_nothing_is_known() -> None:
    sure = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}
    assert leaning_of([], ANSWERS) == EVEN
    assert leaning_of([sure, sure, sure], ANSWERS)["a"] == pytest.approx(
        (3 + LEANING_STRENGTH / 4) / (3 + LEANING_STRENGTH)
    )
    assert min(leaning_of([sure] * 9, ANSWERS).values()) > 0


def test_every_user_counts_alike_in_the_base_rate() -> None:
    one, other = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}, {"a": 0.0, "b": 1.0, "c": 0.0, "d": 0.0}
    found = base_rate_of([one, other], ANSWERS)
    assert found["a"] == found["b"] == pytest.approx((1 + 0.25) / 3)
