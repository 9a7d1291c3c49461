"""Certificates: where they come from, and which one suits an LM, a task and a prompt form."""

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from threading import Condition
from typing import TYPE_CHECKING

from cachetools import cached
from pydantic import ValidationError

from .data.answer_weights import AnswerWeights, prior_of, uniform
from .data.call import as_written
from .data.change import Certificate, ChangeKind
from .data.errors import InputError
from .data.interaction import Interaction
from .data.store import Store, User
from .data.task import Task
from .optimizers.calibration import Observation, base_rate_of, fitted, leaning_of
from .optimizers.simulation import LM_PROBABILITIES, SERVED_BY
from .programs.weighing import experts_of

if TYPE_CHECKING:
    from .data.answer_weights import Distribution

MOST_USERS = 300
"""Users whom weights are fitted on, those stored last: an alignment takes no longer with a million of them."""
MOST_OBSERVED = 20
"""Interactions of each user that weights are fitted on, the latest."""


class Certificates:
    """The certificates that an installation has: of files, those of the package, and what its own users add up to.

    Args:
        store: Whose users weights are fitted on where no certificate has any.
        paths: Files of the user; they go before those of the package.
        fit_once: Whether weights that are fitted on the store's users are kept: for a run over many users, so that all
            of them get the same. Otherwise they are fitted anew each time.
    """

    def __init__(self, store: Store | None = None, paths: Iterable[Path] = (), *, fit_once: bool = False) -> None:
        self._store = store
        self._known = (*map(read_certificate, paths), *_of_the_package())
        self._fit = cached({}, condition=Condition())(self._fitted) if fit_once else self._fitted

    def kinds(self, lm: str, task: Task, form: str) -> frozenset[ChangeKind]:
        """Return the kinds of change that are certified for this LM, task and `AgentSettings.form`."""
        return frozenset[ChangeKind]().union(*(known.kinds_for(lm, task.name, form) for known in self._known))

    def weights(self, lm: str, task: Task, form: str) -> AnswerWeights | None:
        """Return the answer weights of a certificate, or else those that are fitted on this store's users."""
        suiting = (known for known in self._known if (known.lm, known.task, known.form) == (lm, task.name, form))
        return next((known.weights for known in suiting if known.weights), None) or self._fit(lm, task, form)

    def _fitted(self, lm: str, task: Task, form: str) -> AnswerWeights | None:
        """Return weights fitted on this LM's answers to past interactions of all users; None if there are none yet."""
        if self._store is None or task.kind == "text" or task.positional:
            return None
        users = self._store.users(newest=MOST_USERS)
        base_rate = base_rate_of([_prior(user, task) for user in users], task.labels)
        answered = [(user, *answer) for user in users for answer in _answered_by(lm, user, task)]
        if not answered:
            return None
        leaning = leaning_of([probabilities for _, _, probabilities in answered], task.labels)
        weights = AnswerWeights(lm=lm, task=task.name, form=form, leaning=leaning, base_rate=base_rate)
        observations = [
            _observation(user, interaction, probabilities, weights, task)
            for user, interaction, probabilities in answered
        ]
        return fitted(weights, observations)


def read_certificate(path: Path) -> Certificate:
    """Read a certificate from a file."""
    try:
        return Certificate.from_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: is no certificate: {field}: {first['msg']}: make one with certify") from error


def _of_the_package() -> Iterator[Certificate]:
    folder = files("personaagent") / "certified"
    for file in sorted(folder.iterdir() if folder.is_dir() else (), key=lambda file: file.name):
        if file.name.endswith(".json"):
            yield Certificate.from_json(file.read_text(encoding="utf-8"))


def _prior(user: User, task: Task) -> "Distribution":
    given = [each.ground_truth or "" for each in user.interactions.all() if each.task == task.name]
    return prior_of(given, uniform(task.labels))


def _answered_by(lm: str, user: User, task: Task) -> "list[tuple[Interaction, Distribution]]":
    """Return the latest interactions that an LM answered, served or simulated, with its probabilities."""
    simulated = {
        simulation.interaction_id: simulation.lm_probabilities
        for alignment in user.alignments.all()
        if alignment.settings.get("lm") == as_written(lm)
        for simulation in alignment.simulations
    }
    found: list[tuple[Interaction, Distribution]] = []
    for interaction in user.interactions.all():
        served = interaction.metadata.get(LM_PROBABILITIES) if interaction.metadata.get(SERVED_BY) == lm else None
        known = simulated.get(interaction.interaction_id) or served
        if interaction.task == task.name and interaction.ground_truth in task.labels and isinstance(known, dict):
            found.append((interaction, {str(answer): float(str(share)) for answer, share in known.items()}))
    return found[-MOST_OBSERVED:]


def _observation(
    user: User, interaction: Interaction, probabilities: "Distribution", weights: AnswerWeights, task: Task
) -> Observation:
    memory = user.memory.before(interaction)
    episodes = memory.recall(task.content(interaction.query), max(len(memory.history()), 1))
    answered = [episode for episode in episodes if episode.interaction.ground_truth is not None]
    return Observation(user.key, experts_of(probabilities, weights, answered, {}), interaction.ground_truth or "")
