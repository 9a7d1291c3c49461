"""How many users it takes to see a difference."""

import math
from statistics import NormalDist

import numpy as np

from .scales import TINY
from .totals import Sample

POWER = 0.8
ALPHA = 0.05
"""Of a two-sided test."""


def users_needed(sample: Sample) -> dict[str, int | None]:
    """Return for how many users a t-test would see the sample's values as different from 0, four times in five.

    The test is the two-sided one at 5 %, and the truth is taken to be what was observed: an extrapolation, as rough as
    the observed value itself. The standard deviation between users is the jackknife's; for an average over users it is
    the usual one.

    Source: Guenther, Sample Size Formulas for Normal Theory T Tests, The American Statistician 35 (1981) (number);
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11 (jackknife).

    Args:
        sample: The differences between two methods, of users like those to come.

    Returns:
        The number of users by metric; None if the value is 0 or no number, or if there are fewer than two users.
    """
    values = sample.values
    if sample.users < 2:
        return dict.fromkeys(values)
    deviations = {
        name: (sample.users - 1) * float(np.std(without)) * math.sqrt(sample.users / (sample.users - 1))
        for name, without in sample.without_each.items()
    }
    return {name: _users_needed(value, deviations[name]) for name, value in values.items()}


def _users_needed(value: float, deviation: float) -> int | None:
    if not (math.isfinite(value) and math.isfinite(deviation)) or abs(value) <= TINY:
        return None
    two_sided, powerful = (NormalDist().inv_cdf(level) for level in (1 - ALPHA / 2, POWER))
    return math.ceil(((two_sided + powerful) * deviation / value) ** 2 + two_sided**2 / 2)
