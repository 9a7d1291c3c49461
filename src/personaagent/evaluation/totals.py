"""Rows as totals per user: what the statistics of an evaluation are computed from.

Questions of one user are not independent, users are: every interval and test here draws, swaps or leaves out whole
users. As totals add up, a thousand resamples of the users are one matrix product.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from ..data.task import Task
from .calibration import CALIBRATION_ERROR, have_probabilities
from .official import Array, Metrics
from .rows import Row
from .scores import metrics_of, totals_of


@dataclass(frozen=True, eq=False)
class Sample:
    """What was achieved with each of a sample of users, in numbers that add up."""

    totals: Array
    """Users x columns, users in the order of their keys. The first column is a user's weight, above 0."""
    metrics: Callable[[Array], dict[str, Array]]
    """The metrics that sums of such totals (..., columns) come to, each of shape (...)."""

    @property
    def users(self) -> int:
        """How many users."""
        return len(self.totals)

    @property
    def values(self) -> Metrics:
        """The metrics of the sample as it is; none of no users."""
        if not self.users:
            return {}
        with np.errstate(over="ignore", invalid="ignore"):
            return {name: float(value) for name, value in self.metrics(self.totals.sum(axis=0)).items()}

    @property
    def without_each(self) -> dict[str, Array]:
        """The metrics without each user in turn (users), of two users or more."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.metrics(self.totals.sum(axis=0) - self.totals)

    @property
    def shares(self) -> Array:
        """The users' shares of the weight."""
        weights = self.totals[:, 0]
        return weights / weights.sum()


def pooled(task: Task, rows: Iterable[Row], *, with_probabilities: bool | None = None) -> Sample:
    """Return the users' totals: users count by their questions, as in the official averages.

    Args:
        task: The task of the rows.
        rows: The rows of one method, in any order.
        with_probabilities: Whether log loss and calibration error are among the metrics; by default if the method
            says how probable its answers are.
    """
    ordered = sorted(rows, key=lambda row: (row.user_key, row.question_id))
    if with_probabilities is None:
        with_probabilities = have_probabilities(ordered)
    totals = [
        totals_of(task, list(its_rows), with_probabilities=with_probabilities)
        for _, its_rows in groupby(ordered, key=lambda row: row.user_key)
    ]
    return Sample(np.array(totals), partial(metrics_of, task, with_probabilities=with_probabilities))


def averaged(task: Task, rows: Iterable[Row], *, with_probabilities: bool | None = None) -> Sample:
    """Return the users' own metrics: users count equally.

    The calibration error is not among them: of one user's few questions it is chance.

    Args:
        task: The task of the rows.
        rows: The rows of one method, in any order.
        with_probabilities: As for `pooled`.
    """
    of_questions = pooled(task, rows, with_probabilities=with_probabilities)
    if not of_questions.users:
        return of_questions
    of_users = of_questions.metrics(of_questions.totals)
    of_users.pop(CALIBRATION_ERROR, None)
    return Sample(
        np.stack([np.ones(of_questions.users), *of_users.values()], axis=-1), partial(_averages, tuple(of_users))
    )


def scored(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that were scored, each with its answer as we read it: what "scored only" statistics take."""
    return [row.model_copy(update={"prediction": row.parsed}) for row in rows if row.status == "scored"]


def _averages(names: Sequence[str], totals: Array) -> dict[str, Array]:
    """Return the averages of users' metrics from sums of `1, metric, metric, ...`."""
    return {name: totals[..., column] / totals[..., 0] for column, name in enumerate(names, 1)}
