"""What users' past interactions, asked again, say: answer weights for each user, and a certificate for many.

Nothing of the questions is used. Each user's latest past interactions are asked again, each from what was known before
it. What weights say of a user is fitted on the other users alone: how far a method's LM, the users' habits and their
memories are to be believed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

import dspy

from ..data.answer_weights import AnswerWeights, Distribution, prior_of, uniform
from ..data.change import Certificate, Change, ChangeKind, Evidence
from ..data.errors import AnswerError, InputError
from ..data.interaction import Interaction
from ..data.lamp import LampData, LampUser
from ..data.statement import Episode
from ..data.store import user_key
from ..data.task import Task
from ..optimizers.betting import certify_kinds, evidence_of
from ..optimizers.calibration import Observation, base_rate_of, fitted, leaning_of
from ..optimizers.changes import with_change
from ..optimizers.proposers import Case, ProposeRules, Seen, asks_rules
from ..optimizers.scoring import score_of
from ..programs.baselines.weighed import Past
from ..programs.module import model_here
from ..programs.scope import within
from ..programs.weighing import decided, experts_of, softened, weighed
from .agent_methods import PersonaAgentMethod
from .answering import MethodJob, attempt, for_each_user
from .methods import HabitsMethod, WeighedMethod
from .resources import Resources

ASKED_AGAIN = 2
"""Past interactions of each user that are asked again for weights."""
SCORED = 3
"""Past interactions of each user that score changes, the latest."""
KINDS: tuple[ChangeKind, ...] = ("weights", "rule")
"""In the order in which they are tested."""
ALPHA = 0.05


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
    is_weighed = method is not None and method.is_weighed
    if not is_weighed and not isinstance(job.method, HabitsMethod):
        return job
    priors = _priors_of(job.users, job.task)
    rates = {key: _base_rate_without(key, priors, job.task) for key in map(_key, job.users)}
    if method is None or not is_weighed:
        return replace(job, base_rates=rates)
    if certificate is not None and certificate.weights is not None:
        return replace(job, base_rates=rates, weights=dict.fromkeys(rates, certificate.weights))
    asked = [again for user in job.users for again in await _asked_again(method, user, resources)]
    weights = {key: _weights_without(key, method, job.task, rate, asked) for key, rate in rates.items()}
    return replace(job, base_rates=rates, weights=weights)


def _priors_of(users: Sequence[LampUser], task: Task) -> dict[str, Distribution]:
    """Return how often each user gives each answer, by user key; users who gave none are left out."""
    knowing_nothing = uniform(task.labels)
    given = {
        _key(user): [past.ground_truth for past in user.history if past.ground_truth in task.labels] for user in users
    }
    return {key: prior_of(answers, knowing_nothing) for key, answers in given.items() if answers}


def _base_rate_without(key: str | None, priors: Mapping[str, Distribution], task: Task) -> Distribution:
    """Return how often all users but this one give each answer; with no key, how often all users do."""
    return base_rate_of([prior for other, prior in priors.items() if other != key], task.labels)


def _weights_without(
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


async def _asked_again(
    method: WeighedMethod, user: LampUser, resources: Resources, most: int = ASKED_AGAIN
) -> list[Asked]:
    """Let a method answer a user's latest past interactions again, at most so many; what it cannot answer is left out.

    Its program is made as it would have been before each of them.
    """
    found: list[Asked] = []
    for past in _answered_before(user, resources.task)[-most:]:
        with within(method.form, f"calibration {past.interaction_id}", user_key=_key(user)):
            asked = await _asked_of(await method.program_before(user, past, resources), past, user, resources)
        if asked is not None and (asked.lm or resources.task.kind == "text"):
            found.append(asked)
    return found


async def _asked_of(
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


def _answered_before(user: LampUser, task: Task) -> list[Interaction]:
    """Return the interactions of a user's history whose ground truth is an answer of the task, oldest first."""
    return [past for past in user.history if (past.ground_truth in task.labels if task.labels else past.ground_truth)]


def _observation(asked: Asked, method: WeighedMethod, weights: AnswerWeights) -> Observation:
    experts = experts_of(asked.lm, weights, asked.answered if method.personal else (), {})
    if not method.votes:
        experts = experts.model_copy(update={"memory": experts.prior})
    return Observation(asked.user_key, experts, asked.truth)


def _key(user: LampUser) -> str:
    return user_key(user.user_id)


class Certification(NamedTuple):
    """A certificate, and the evidence for kinds that it does not name too."""

    certificate: Certificate
    tested: Mapping[ChangeKind, Evidence]


async def certify(
    data: LampData,
    method: PersonaAgentMethod,
    resources: Resources,
    *,
    older: int = 0,
    concurrency: int = 1,
    done: Callable[[], None] = lambda: None,
) -> Certification:
    """Ask past interactions again, with changes and without, and say which kinds of change have proved to help.

    Rules are proposed from what is older than all that scores them, by LMs that are asked for rules.

    Args:
        data: Users with histories; their questions are not looked at.
        method: The agent that is certified for; its options decide what the prompts hold.
        resources: Those of the method.
        older: Interactions of each user, before those that score, that are asked too: rules are proposed from what the
            agent gets wrong there. Each costs a call.
        concurrency: How many users at once.
        done: Is called twice for each user: once asked again, and once asked with the rules that were proposed.

    Raises:
        InputError: Fewer than two users have a past interaction that could be asked again.
    """
    asked: dict[str, list[Asked]] = {}

    async def ask(user: LampUser) -> None:
        asked[_key(user)] = await _asked_again(method, user, resources, SCORED + older)
        done()

    with within(is_stored=False):
        await for_each_user(data.users, ask, concurrency=concurrency)
    users = [user for user in data.users if asked[_key(user)]]
    if len(users) < 2:
        raise InputError(
            f"{len(users)} of {len(data.users)} users have a past interaction that could be asked again: "
            "a certificate is about many users, so give at least two"
        )
    trials = _Trials(method, resources, {_key(user): asked[_key(user)] for user in users})
    trials.weigh(users)

    async def try_rules(user: LampUser) -> None:
        await trials.try_rules(user)
        done()

    with within(is_stored=False):
        await for_each_user(users, try_rules, concurrency=concurrency)
    return trials.certification()


class _Answer(NamedTuple):
    response: str | None
    probabilities: Distribution | None


class _Trials:
    """What each user's latest past interactions, asked again, say of each kind of change; the last `SCORED` score."""

    def __init__(self, method: PersonaAgentMethod, resources: Resources, asked: Mapping[str, Sequence[Asked]]) -> None:
        self._method, self._resources, self._task, self._asked = method, resources, resources.task, asked
        self._weights: dict[str, AnswerWeights] = {}
        self._fitted: AnswerWeights | None = None
        self._differences: dict[ChangeKind, dict[str, list[float]]] = {kind: {} for kind in KINDS}

    def weigh(self, users: Sequence[LampUser]) -> None:
        """Fit the weights of each user on the others, and compare answers with them and without."""
        if self._task.kind == "text" or self._task.positional:
            return
        priors = _priors_of(users, self._task)
        all_asked = [again for of_user in self._asked.values() for again in of_user]

        def weights_for(key: str | None) -> AnswerWeights:
            rate = _base_rate_without(key, priors, self._task)
            return _weights_without(key, self._method, self._task, rate, all_asked)

        self._fitted = weights_for(None)
        for key, asked in self._asked.items():
            self._weights[key] = weights_for(key)
            self._differences["weights"][key] = [
                self._score(again, self._weights[key]) - self._score(again, None) for again in asked[-SCORED:]
            ]

    async def try_rules(self, user: LampUser) -> None:
        """Propose rules from what is older than the scoring interactions, and ask these again with them."""
        key = _key(user)
        older, scoring = self._asked[key][:-SCORED], self._asked[key][-SCORED:]
        rules = await self._proposed(user, older, scoring[0]) if older and asks_rules() else ()
        if rules:
            found = [await self._difference(user, again, rules) for again in scoring]
            self._differences["rule"][key] = [difference for difference in found if difference is not None]

    def certification(self) -> Certification:
        """Return what follows of the differences, users being looked at in the order in which they were given."""
        differences: dict[ChangeKind, list[list[float]]] = {
            kind: [by_user[key] for key in self._asked if key in by_user]
            for kind, by_user in self._differences.items()
            if by_user
        }
        certificate = Certificate(
            lm=model_here(),
            task=self._task.name,
            form=self._method.form,
            kinds=certify_kinds(differences, ALPHA),
            weights=self._fitted,
            users=len(self._asked),
            version=version("personaagent"),
            made_at=datetime.now(UTC),
        )
        enough = len(differences) / ALPHA
        return Certification(certificate, {kind: evidence_of(found, enough) for kind, found in differences.items()})

    async def _proposed(self, user: LampUser, older: Sequence[Asked], first: Asked) -> Sequence[Change]:
        key = _key(user)
        history = [past for past in _answered_before(user, self._task) if past.precedes(first.interaction)]
        weights = self._weights.get(key)
        seen = [Seen(again.interaction, self._weighed(again, weights).response, again.lm) for again in older]
        with within(self._method.form, "proposals", user_key=key):
            agent = await self._method.program_before(user, first.interaction, self._resources)
            case = Case(self._task, agent.persona, history, seen)
            return await asyncio.to_thread(ProposeRules().propose, case)

    async def _difference(self, user: LampUser, plain: Asked, changes: Sequence[Change]) -> float | None:
        """Return the score of an interaction with the rules less without them; None if the LM failed."""
        key, interaction = _key(user), plain.interaction
        with within(self._method.form, f"{changes[0].kind} {interaction.interaction_id}", user_key=key):
            agent = await self._method.program_before(user, interaction, self._resources)
            persona = agent.persona
            for change in changes:
                persona = with_change(persona, change)
            agent.speak_under(persona)
            asked = await _asked_of(agent, interaction, user, self._resources)
        if asked is None:
            return None
        weights = self._weights.get(key)
        return self._score(asked, weights) - self._score(plain, weights)

    def _score(self, asked: Asked, weights: AnswerWeights | None) -> float:
        found = self._weighed(asked, weights)
        return score_of(found.probabilities, found.response, asked.truth, self._task)

    def _weighed(self, asked: Asked, weights: AnswerWeights | None) -> _Answer:
        """Return the answer with weights or without; both are softened, so that their scores are on one scale."""
        if not asked.lm:
            return _Answer(asked.response, None)
        if weights is None:
            found = decided(self._task, softened(asked.lm), {})
        else:
            found = weighed(self._task, asked.lm, weights, asked.answered)
        return _Answer(found.response, found.probabilities)
