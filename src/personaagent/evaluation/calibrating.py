"""How far a method's LM, the users' habits and their memories are to be believed: fitted before the first question.

Nothing of the questions is used. Each user's latest past interactions are asked again, each from what was known before
it, and each user's weights are fitted on the other users alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import dspy

from ..data.answer_weights import AnswerWeights, Distribution, prior_of, uniform
from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.statement import Episode
from ..data.store import user_key
from ..data.task import Task
from ..optimizers.calibration import Observation, base_rate_of, fitted, leaning_of
from ..programs.baselines.weighed import Past
from ..programs.lm_here import model_here
from ..programs.scope import within
from ..programs.weighing import experts_of
from .answering import MethodWork, attempt_here

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


class Asked(NamedTuple):
    """A past interaction, asked again as it was met: with what was known before it."""

    user_key: str
    interaction: Interaction
    response: str | None
    """None if the answer was not in the form of the task."""
    lm: Distribution
    """What the LM says of each answer; empty for a text."""
    answered: tuple[Episode, ...]
    """The user's past interactions with a ground truth, each with its likeness to this one."""

    @property
    def truth(self) -> str:
        """What the user answered."""
        return self.interaction.ground_truth or ""


async def with_weights(work: MethodWork, bench: "Workbench") -> MethodWork:
    """Return the work with what its method needs to know of the other users; nothing for texts and positions.

    Work that has it already is returned as it is.

    Args:
        work: All users of the evaluation, and the method that will answer them.
        bench: What methods work with.
    """
    method = work.method
    certificate = bench.certificate(method.form) if isinstance(method, Calibrated) else None
    if certificate is not None:
        work = replace(work, certified=frozenset(certificate.kinds))
    if work.base_rates or work.task.kind == "text" or work.task.positional:
        return work
    priors = priors_of(work.users, work.task)
    rates = {key: base_rate_without(key, priors, work.task) for key in map(_key, work.users)}
    if not isinstance(method, Calibrated) or not method.is_weighed:
        return replace(work, base_rates=rates)
    if certificate is not None and certificate.weights is not None:
        return replace(work, base_rates=rates, weights=dict.fromkeys(rates, certificate.weights))
    asked = [one for user in work.users for one in await asked_again(method, user, bench)]
    weights = {key: weights_without(key, method, work.task, rate, asked) for key, rate in rates.items()}
    return replace(work, base_rates=rates, weights=weights)


def priors_of(users: Sequence[LampUser], task: Task) -> dict[str, Distribution]:
    """Return how often each user gives each answer, by user key; users who gave none are left out."""
    knowing_nothing = uniform(task.labels)
    given = {_key(user): _given(user.history, task) for user in users}
    return {key: prior_of(answers, knowing_nothing) for key, answers in given.items() if answers}


def base_rate_without(key: str | None, priors: Mapping[str, Distribution], task: Task) -> Distribution:
    """Return how often all users but one give each answer; with no key, how often all users do."""
    return base_rate_of([prior for other, prior in priors.items() if other != key], task.labels)


def weights_without(
    key: str | None, method: Calibrated, task: Task, base_rate: Distribution, asked: Sequence[Asked]
) -> AnswerWeights:
    """Return answer weights fitted on all users but one; with no key, on all.

    Args:
        key: The user whom the weights are for.
        method: Whose answers are weighed.
        task: What is asked.
        base_rate: How often the users give each answer.
        asked: Past interactions of all users.
    """
    others = [one for one in asked if one.user_key != key]
    weights = AnswerWeights(
        lm=model_here(),
        task=task.name,
        form=method.form,
        leaning=leaning_of([one.lm for one in others], task.labels),
        base_rate=base_rate,
    )
    return fitted(weights, [_observation(one, method, weights) for one in others])


async def asked_again(method: Calibrated, user: LampUser, bench: "Workbench", most: int = ASKED_AGAIN) -> list[Asked]:
    """Let a method answer a user's latest past interactions again; those that it cannot answer are left out.

    Args:
        method: Its program is made as it would have been before each of them.
        user: Whose.
        bench: What methods work with.
        most: How many.
    """
    found: list[Asked] = []
    for one in answered_before(user, bench.task)[-most:]:
        with within(method.form, f"calibration {one.interaction_id}", user_key=_key(user)):
            asked = await asked_of(await method.program_before(user, one, bench), one, user, bench)
        if asked is not None and (asked.lm or bench.task.kind == "text"):
            found.append(asked)
    return found


async def asked_of(program: dspy.Module, interaction: Interaction, user: LampUser, bench: "Workbench") -> Asked | None:
    """Let a program answer a past interaction of a user, in a thread; return None if that failed."""
    said = await asyncio.to_thread(attempt_here, partial(program, query=interaction.query))
    if said.result is None and not isinstance(said.error, AnswerError):
        return None
    answered: tuple[Episode, ...] = ()
    if bench.task.labels:
        past = [other for other in user.history if other.precedes(interaction)]
        answered = Past(past, bench.task, bench.embedder).answered(interaction.query)
    response, lm = (said.result.response, said.result.lm_probabilities) if said.result else (None, None)
    return Asked(_key(user), interaction, response, lm or {}, answered)


def answered_before(user: LampUser, task: Task) -> list[Interaction]:
    """Return the interactions of a user's history whose ground truth is an answer of the task, oldest first."""
    return [one for one in user.history if (one.ground_truth in task.labels if task.labels else one.ground_truth)]


def _observation(asked: Asked, method: Calibrated, weights: AnswerWeights) -> Observation:
    past = asked.answered if method.personal else ()
    experts = experts_of(asked.lm, weights, past, {})
    if not method.votes:
        experts = experts.model_copy(update={"memory": experts.prior})
    return Observation(asked.user_key, experts, asked.truth)


def _given(history: Sequence[Interaction], task: Task) -> list[str]:
    return [one.ground_truth for one in history if one.ground_truth in task.labels]


def _key(user: LampUser) -> str:
    return user_key(user.user_id)
