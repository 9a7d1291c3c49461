"""Users needed and adjusted p-values, held to statsmodels and to simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from personaagent.evaluation.intervals import Sample
from personaagent.evaluation.metrics import Array
from personaagent.evaluation.paired import holm, users_needed


def as_means(values: Array) -> Sample:
    """Return users of equal weight whose one metric is a mean."""
    return Sample(
        np.stack([np.ones(len(values)), values], axis=-1), lambda totals: {"mean": totals[..., 1] / totals[..., 0]}
    )


def standard(generator: np.random.Generator, users: int) -> Array:
    """Return values whose mean is 0 and whose standard deviation is 1."""
    values = generator.normal(size=users)
    return (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize(("mean", "users"), [(0.05, 40), (0.3, 12), (0.8, 30), (2.0, 10)])
def test_the_users_needed_are_those_of_a_t_test(mean: float, users: int) -> None:
    values = standard(np.random.default_rng(3), users) + mean
    expected = TTestPower().solve_power(effect_size=mean, alpha=0.05, power=0.8)
    needed = users_needed(as_means(values))["mean"]
    assert needed is not None and abs(needed - expected) <= 1


def test_with_the_users_needed_four_of_five_experiments_see_the_difference() -> None:
    generator = np.random.default_rng(4)
    truth = 0.5
    needed = users_needed(as_means(standard(generator, 50) + truth))["mean"]
    assert needed is not None
    experiments = generator.normal(truth, size=(4_000, needed))
    t = experiments.mean(axis=1) / experiments.std(axis=1, ddof=1) * math.sqrt(needed)
    assert np.mean(np.abs(t) > stats.t.ppf(0.975, needed - 1)) == pytest.approx(0.8, abs=0.03)


def test_no_difference_needs_no_number_of_users() -> None:
    assert users_needed(as_means(np.array([-1.0, 1.0, 0.0]))) == {"mean": None}
    assert users_needed(as_means(np.array([1.0, 1.0, 1.0]))) == {"mean": 2}


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    adjusted = np.asarray(multipletests(p_values, method="holm")[1])
    assert holm(p_values) == pytest.approx(list(adjusted))


def test_holm_keeps_the_order_and_of_nothing_makes_nothing() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
