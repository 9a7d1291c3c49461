"""Scales on which metrics err about as far to one side as to the other."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .official import Array
from .scores import ERRORS

TINY = 1e-12
"""Differences below this are the rounding of sums."""


@dataclass(frozen=True)
class Scale:
    """A scale on which a metric errs about as far to one side as to the other, as an interval of equal arms presumes.

    Source: for shares, Borges, Eine Approximation der Binomialverteilung durch die Normalverteilung der Ordnung 1/n,
    Zeitschrift für Wahrscheinlichkeitstheorie 14 (1970); for sizes, Bartlett and Kendall, The Statistical Analysis of
    Variance-Heterogeneity and the Logarithmic Transformation, Supplement to the Journal of the Royal Statistical
    Society 8 (1946).
    """

    to: Callable[[Array], Array]
    back: Callable[[Array], Array]
    """Returns the nearest end of the range for what lies beyond it."""
    corrects_bias: bool = False
    """Whether an interval on it is around the value less its bias."""


def _even(share: Array) -> Array:
    from scipy.special import betainc  # pyright: ignore[reportMissingTypeStubs]

    return betainc(2 / 3, 2 / 3, np.clip(share, 0, 1))


def _share(even: Array) -> Array:
    from scipy.special import betaincinv  # pyright: ignore[reportMissingTypeStubs]

    return betaincinv(2 / 3, 2 / 3, np.clip(even, 0, 1))


def _logarithm(size: Array) -> Array:
    """Return logarithms; none is taken for half of the smallest."""
    smallest = np.min(size, where=size > 0, initial=np.inf)
    return np.log(np.where(size == 0, smallest / 2, size))


SHARE = Scale(_even, _share, corrects_bias=True)
SHARE_EXCESS = Scale(lambda excess: _even((1 + excess) / 2), lambda even: 2 * _share(even) - 1)
"""Of one share less another."""
SIZE = Scale(_logarithm, np.exp)
PLAIN = Scale(lambda value: value, lambda value: value)


@dataclass(frozen=True)
class Scales:
    """The scale of a metric that is a share, and that of one that may be of any size."""

    share: Scale
    size: Scale

    def of(self, metric: str, of_users: Array) -> Scale:
        """Return the scale of a metric, which is a share if it is no error and no user has more than 1 of it."""
        return self.share if metric not in ERRORS and (np.abs(of_users) <= 1 + TINY).all() else self.size


METRICS = Scales(SHARE, SIZE)
"""Of metrics, which are 0 or more."""
EXCESSES = Scales(SHARE_EXCESS, PLAIN)
"""Of one method's metrics less another's."""
