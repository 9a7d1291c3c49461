"""How far a method's LM, the users' habits and their memories are to be believed: fitted before the first question.

Nothing of the questions is used. Each user's latest past interactions are asked again, each from what was known before
it, and each user's weights are fitted on the other users alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

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
from .answering import MethodJob, attempt
from .methods import WeighedMethod
from .resources import Resources

ASKED_AGAIN = 2
"""Past interactions of each user that are asked again."""


class Asked(NamedTuple):
    """A past interaction, asked again with what was known before it."""

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


async def with_weights(job: MethodJob, resources: Resources) -> MethodJob:
    """Return a job of all users with what its method needs to know of the others; nothing for texts and positions.

    A job that has it already is returned as it is.
    """
    method = job.method if isinstance(job.method, WeighedMethod) else None
    certificate = method and resources.certificate(method.form)
    if certificate is not None:
        job = replace(job, certified=frozenset(certificate.kinds))
    if job.base_rates or job.task.kind == "text" or job.task.positional:
        return job
    priors = priors_of(job.users, job.task)
    rates = {key: base_rate_without(key, priors, job.task) for key in map(_key, job.users)}
    if method is None or not method.is_weighed:
        return replace(job, base_rates=rates)
    if certificate is not None and certificate.weights is not None:
        return replace(job, base_rates=rates, weights=dict.fromkeys(rates, certificate.weights))
    asked = [again for user in job.users for again in await asked_again(method, user, resources)]
    weights = {key: weights_without(key, method, job.task, rate, asked) for key, rate in rates.items()}
    return replace(job, base_rates=rates, weights=weights)


def priors_of(users: Sequence[LampUser], task: Task) -> dict[str, Distribution]:
    """Return how often each user gives each answer, by user key; users who gave none are left out."""
    knowing_nothing = uniform(task.labels)
    given = {
        _key(user): [past.ground_truth for past in user.history if past.ground_truth in task.labels] for user in users
    }
    return {key: prior_of(answers, knowing_nothing) for key, answers in given.items() if answers}


def base_rate_without(key: str | None, priors: Mapping[str, Distribution], task: Task) -> Distribution:
    """Return how often all users but this one give each answer; with no key, how often all users do."""
    return base_rate_of([prior for other, prior in priors.items() if other != key], task.labels)


def weights_without(
    key: str | None, method: WeighedMethod, task: Task, base_rate: Distribution, asked: Sequence[Asked]
) -> AnswerWeights:
    """Return a method's answer weights, fitted on the past interactions of all users but this one; with no key, on all.

    The base rate is how often they give each answer.
    """
    others = [again for again in asked if again.user_key != key]
    weights = AnswerWeights(
        lm=model_here(),
        task=task.name,
        form=method.form,
        leaning=leaning_of([again.lm for again in others], task.labels),
        base_rate=base_rate,
    )
    return fitted(weights, [_observation(again, method, weights) for again in others])


async def asked_again(
    method: WeighedMethod, user: LampUser, resources: Resources, most: int = ASKED_AGAIN
) -> list[Asked]:
    """Let a method answer a user's latest past interactions again, at most so many; what it cannot answer is left out.

    Its program is made as it would have been before each of them.
    """
    found: list[Asked] = []
    for past in answered_before(user, resources.task)[-most:]:
        with within(method.form, f"calibration {past.interaction_id}", user_key=_key(user)):
            asked = await asked_of(await method.program_before(user, past, resources), past, user, resources)
        if asked is not None and (asked.lm or resources.task.kind == "text"):
            found.append(asked)
    return found


async def asked_of(
    program: dspy.Module, interaction: Interaction, user: LampUser, resources: Resources
) -> Asked | None:
    """Let a program answer a past interaction of a user, in a thread; return None if that failed."""
    said = await asyncio.to_thread(attempt, partial(program, query=interaction.query))
    if said.result is None and not isinstance(said.error, AnswerError):
        return None
    answered: tuple[Episode, ...] = ()
    if resources.task.labels:
        before = [past for past in user.history if past.precedes(interaction)]
        answered = Past(before, resources.task, resources.embedder).answered(interaction.query)
    response, lm = (said.result.response, said.result.lm_probabilities) if said.result else (None, None)
    return Asked(_key(user), interaction, response, lm or {}, answered)


def answered_before(user: LampUser, task: Task) -> list[Interaction]:
    """Return the interactions of a user's history whose ground truth is an answer of the task, oldest first."""
    return [past for past in user.history if (past.ground_truth in task.labels if task.labels else past.ground_truth)]


def _observation(asked: Asked, method: WeighedMethod, weights: AnswerWeights) -> Observation:
    experts = experts_of(asked.lm, weights, asked.answered if method.personal else (), {})
    if not method.votes:
        experts = experts.model_copy(update={"memory": experts.prior})
    return Observation(asked.user_key, experts, asked.truth)


def _key(user: LampUser) -> str:
    return user_key(user.user_id)
