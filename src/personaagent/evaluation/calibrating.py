"""How far a method's LM, the users' habits and their memories are to be believed: fitted before the first question.

Nothing of the questions is used. Each user's latest past interactions are asked again, each from what was known before
it, and each user's weights are fitted on the other users alone.
"""

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import dspy

from ..data.answer_weights import AnswerWeights, Distribution, prior_of, uniform
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.statement import Episode
from ..data.store import user_key
from ..data.task import Task
from ..optimizers.calibration import Observation, base_rate_of, fitted, leaning_of
from ..programs.baselines.weighed import Past
from ..programs.scope import within
from ..programs.weighing import experts_of
from .attempt import attempt_here
from .work import MethodWork

if TYPE_CHECKING:
    from .workbench import Workbench

ASKED_AGAIN = 2
"""Past interactions of each user that are asked again."""


@runtime_checkable
class Calibrated(Protocol):
    """A method whose answers can be weighed."""

    @property
    def is_weighed(self) -> bool:
        """Whether they are."""
        ...

    @property
    def form(self) -> str:
        """Names what its prompts hold."""
        ...

    @property
    def votes(self) -> bool:
        """Whether memory votes."""
        ...

    @property
    def personal(self) -> bool:
        """Whether the weights may know the user."""
        ...

    async def program_before(self, user: LampUser, interaction: Interaction, bench: "Workbench") -> dspy.Module:
        """Return the program, without weights, as it would have been before an interaction of the user's history."""
        ...


class _Asked(NamedTuple):
    """A past interaction, asked again."""

    user_key: str
    lm: Distribution
    answered: tuple[Episode, ...]
    truth: str


async def with_weights(work: MethodWork, bench: "Workbench") -> MethodWork:
    """Return the work with what its method needs to know of the other users; nothing for texts and positions.

    Args:
        work: All users of the evaluation, and the method that will answer them.
        bench: What methods work with.
    """
    if work.task.kind == "text" or work.task.positional:
        return work
    given = {user_key(user.user_id): _given(user.history, work.task) for user in work.users}
    rates = {key: _base_rate_without(key, given, work.task) for key in given}
    method = work.method
    if not isinstance(method, Calibrated) or not method.is_weighed:
        return replace(work, base_rates=rates)
    certified = bench.certified_weights(method.form)
    if certified is not None:
        return replace(work, base_rates=rates, weights=dict.fromkeys(given, certified))
    asked = [one for user in work.users for one in await _asked_again(method, user, bench)]
    weights = {key: _weights_for(rate, key, method, work.task, asked) for key, rate in rates.items()}
    return replace(work, base_rates=rates, weights=weights)


def _base_rate_without(key: str, given: Mapping[str, Sequence[str]], task: Task) -> Distribution:
    knowing_nothing = uniform(task.labels)
    priors = [prior_of(answers, knowing_nothing) for other, answers in given.items() if other != key and answers]
    return base_rate_of(priors, task.labels)


def _weights_for(
    base_rate: Distribution, key: str, method: Calibrated, task: Task, asked: Sequence[_Asked]
) -> AnswerWeights:
    others = [one for one in asked if one.user_key != key]
    weights = AnswerWeights(
        lm=dspy.settings.lm.model,
        task=task.name,
        form=method.form,
        leaning=leaning_of([one.lm for one in others], task.labels),
        base_rate=base_rate,
    )
    return fitted(weights, [_observation(one, method, weights) for one in others])


def _observation(asked: _Asked, method: Calibrated, weights: AnswerWeights) -> Observation:
    past = asked.answered if method.personal else ()
    experts = experts_of(asked.lm, weights, past, {})
    if not method.votes:
        experts = experts.model_copy(update={"memory": experts.prior})
    return Observation(asked.user_key, experts, asked.truth)


async def _asked_again(method: Calibrated, user: LampUser, bench: "Workbench") -> list[_Asked]:
    known = [one for one in user.history if one.ground_truth in bench.task.labels][-ASKED_AGAIN:]
    key = user_key(user.user_id)
    found: list[_Asked] = []
    for one in known:
        with within(method.form, f"calibration {one.interaction_id}", user_key=key):
            program = await method.program_before(user, one, bench)
            here = contextvars.copy_context()
        answer = await asyncio.to_thread(here.run, attempt_here, partial(program, query=one.query))
        if answer.result is None or answer.result.lm_probabilities is None:
            continue
        before = Past([other for other in user.history if other.precedes(one)], bench.task, bench.embedder)
        found.append(_Asked(key, answer.result.lm_probabilities, before.answered(one.query), one.ground_truth or ""))
    return found


def _given(history: Sequence[Interaction], task: Task) -> list[str]:
    return [one.ground_truth for one in history if one.ground_truth in task.labels and one.ground_truth is not None]
