"""Certifying: which kinds of change help the users of a task on average, and how far LM and memory are believed.

Nothing of the questions is used. Each user's latest past interactions are asked again, each from what was known before
it, with the changes of a kind and without them. What is said of a user by weights was fitted on the other users alone;
lines are proposed from what is older than all that scores them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

from ..data.answer_weights import AnswerWeights, Distribution
from ..data.certificate import Certificate
from ..data.change import Change, ChangeKind, Evidence
from ..data.errors import InputError
from ..data.lamp import LampData, LampUser
from ..data.store import user_key
from ..optimizers.betting import evidence_of
from ..optimizers.certificate import certify_kinds
from ..optimizers.changes import with_change
from ..optimizers.evidence import default_proposers
from ..optimizers.proposers import Case, Seen
from ..optimizers.scoring import score_of
from ..programs.lm_here import model_here
from ..programs.scope import within
from ..programs.weighing import decided, softened, weighed
from .agent_methods import PersonaAgentMethod
from .answering import for_each_user
from .resources import Resources
from .weights import Asked, answered_before, asked_again, asked_of, base_rate_without, priors_of, weights_without

SCORED = 3
"""Past interactions of each user that score changes, the latest."""
KINDS: tuple[ChangeKind, ...] = ("weights", "confusion", "style")
"""In the order in which they are tested."""
ALPHA = 0.05


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
    """Ask past interactions again and say which kinds of change have proved to help.

    Args:
        data: Users with histories; their questions are not looked at.
        method: The agent that is certified for; its options decide what the prompts hold.
        resources: Those of the method.
        older: Interactions of each user, before those that score, that are asked too: lines about confusions are
            proposed from what the agent gets wrong there. Each costs a call.
        concurrency: How many users at once.
        done: Is called twice for each user: once asked again, and once asked with the lines that were proposed.

    Raises:
        InputError: Fewer than two users have a past interaction that could be asked again.
    """
    asked: dict[str, list[Asked]] = {}

    async def ask(user: LampUser) -> None:
        asked[user_key(user.user_id)] = await asked_again(method, user, resources, SCORED + older)
        done()

    await for_each_user(data.users, ask, concurrency=concurrency)
    users = [user for user in data.users if asked[user_key(user.user_id)]]
    if len(users) < 2:
        raise InputError(
            f"{len(users)} of {len(data.users)} users have a past interaction that could be asked again: "
            "a certificate is about many users, so give at least two"
        )
    trials = _Trials(method, resources, {user_key(user.user_id): asked[user_key(user.user_id)] for user in users})
    trials.weigh(users)

    async def try_lines(user: LampUser) -> None:
        await trials.try_lines(user)
        done()

    await for_each_user(users, try_lines, concurrency=concurrency)
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
        priors = priors_of(users, self._task)
        all_asked = [again for of_user in self._asked.values() for again in of_user]

        def weights_for(key: str | None) -> AnswerWeights:
            rate = base_rate_without(key, priors, self._task)
            return weights_without(key, self._method, self._task, rate, all_asked)

        self._fitted = weights_for(None)
        for key, asked in self._asked.items():
            self._weights[key] = weights_for(key)
            self._differences["weights"][key] = [
                self._score(again, self._weights[key]) - self._score(again, None) for again in asked[-SCORED:]
            ]

    async def try_lines(self, user: LampUser) -> None:
        """Propose lines from what is older than the scoring interactions, and ask these again with them."""
        key = user_key(user.user_id)
        scoring = self._asked[key][-SCORED:]
        changes = await self._proposed(user, self._asked[key][:-SCORED], scoring[0])
        for kind in ("confusion", "style"):
            lines = [change for change in changes if change.kind == kind]
            if lines:
                found = [await self._difference(user, again, lines) for again in scoring]
                self._differences[kind][key] = [difference for difference in found if difference is not None]

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

    async def _proposed(self, user: LampUser, older: Sequence[Asked], first: Asked) -> list[Change]:
        key = user_key(user.user_id)
        with within(self._method.form, "proposals", user_key=key):
            agent = await self._method.program_before(user, first.interaction, self._resources)
        history = [past for past in answered_before(user, self._task) if past.precedes(first.interaction)]
        weights = self._weights.get(key)
        seen = [Seen(again.interaction, self._weighed(again, weights).response, again.lm) for again in older]
        case = Case(self._task, agent.persona, history, seen)
        return [change for proposer in default_proposers() for change in proposer.propose(case)]

    async def _difference(self, user: LampUser, plain: Asked, changes: Sequence[Change]) -> float | None:
        """Return the score of an interaction with the lines less without them; None if the LM failed."""
        key, interaction = user_key(user.user_id), plain.interaction
        with within(self._method.form, f"{changes[0].kind} {interaction.interaction_id}", user_key=key):
            agent = await self._method.program_before(user, interaction, self._resources)
            persona = agent.persona
            for change in changes:
                persona = with_change(persona, change)
            agent.speak_under(persona)
            asked = await asked_of(agent, interaction, user, self._resources)
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
