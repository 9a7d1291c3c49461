"""Replay: do a run's work again with no LM and no network, and see that it comes to the same."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .data.call import Run
from .data.errors import InputError
from .data.persona import PersonaVersion, fingerprint_of
from .data.tasks import task_named
from .home import copy_user, scratch_store
from .journal import LOSS, REVISION, open_run
from .optimizers import examples, latest
from .personas import certified_of, decisions_of, equipped, program
from .programs import AgentSettings
from .programs.scope import within
from .settings import Settings

if TYPE_CHECKING:
    from .data.alignment import Alignment
    from .data.persona import Persona
    from .data.store import Store, User
    from .journal import OpenRun
    from .optimizers import PersonaAlignment


class Replayed(NamedTuple):
    """What a replay came to."""

    calls: int
    """Calls that were answered from the journal."""
    fingerprint: str
    """A hash of the result: of the rows of an evaluation, of the personas of an alignment."""
    recorded: str | None
    """The same of the recorded result; None if the run came to none."""


def replay(store: "Store", run_id: str, settings: Settings, *, folder: Path | None = None) -> Replayed:
    """Do the work of a recorded run again, answered from the journal alone.

    Args:
        store: Holds the run and, for an alignment, the users.
        run_id: An alignment or an evaluation.
        settings: Those of the run: the embedder must be the same.
        folder: Where the data of an evaluation lie now, if not where they were.

    Raises:
        DivergenceError: Code, prompts, settings or data have changed: at this call, and in this way.
        InputError: Such a run cannot be replayed.
    """
    run = store.journal.run(run_id)
    with open_run(store.journal, run, {}, replay=True) as going_on:
        match run.command:
            case "align":
                made, recorded = _align(store, run, going_on, settings)
            case "evaluate":
                made, recorded = _evaluate(run, settings, folder, going_on), store.journal.result(run_id)
            case other:
                raise InputError(f"run {run_id} is a run of `{other}`: only alignments and evaluations can be replayed")
        return Replayed(going_on.repeated, made, recorded)


def _align(store: "Store", run: Run, going_on: "OpenRun", settings: Settings) -> tuple[str, str]:
    from .optimizers import PersonaAlignment

    made: list[Persona] = []
    recorded: list[Persona] = []
    for user, alignment in _alignments(store, run):
        optimizer = PersonaAlignment(
            mode="paper" if alignment.settings["mode"] == "paper" else "evidence",
            n=_number(alignment, "n"),
            iterations=_number(alignment, "iterations"),
            loss_lm=going_on.lm(LOSS),
            revision_lm=going_on.lm(REVISION),
        )
        certified = certified_of(alignment)
        with scratch_store(settings) as scratch, within(user_key=user.key):
            made.append(_aligned_again(user, alignment, equipped(optimizer, certified), scratch))
        recorded.append(alignment.persona)
    return fingerprint_of(made), fingerprint_of(recorded)


def _alignments(store: "Store", run: Run) -> "list[tuple[User, Alignment]]":
    found = [(user, one) for user in store.users() for one in user.alignments.all()]
    mine = [(user, one) for user, one in found if one.alignment_id == f"{run.run_id}-{user.key}"]
    if not mine:
        raise InputError(
            f"run {run.run_id} has recorded no alignment here: take it up again, or replay it where it ran"
        )
    return mine


def _aligned_again(user: "User", alignment: "Alignment", optimizer: "PersonaAlignment", scratch: "Store") -> "Persona":
    copy = copy_user(user, scratch, None, _number(alignment, "history"))
    history = copy.interactions.all()
    number = alignment.base_version or 1
    base = PersonaVersion(
        number=number, persona=alignment.base, status="live", reason="as recorded", at=alignment.started_at
    )
    task = task_named(latest(history, optimizer.n)[-1].task)
    settings = AgentSettings.model_validate(alignment.settings["agent"])
    student = program(copy, base, task, settings)
    student.decisions = decisions_of(_before(user, alignment))
    return optimizer.compile(student, trainset=examples(history)).persona


def _before(user: "User", alignment: "Alignment") -> "tuple[Alignment, ...]":
    known = user.alignments.all()
    ids = [one.alignment_id for one in known]
    return known[: ids.index(alignment.alignment_id)]


def _number(alignment: "Alignment", setting: str) -> int:
    return int(str(alignment.settings[setting]))


def _evaluate(run: Run, settings: Settings, folder: Path | None, going_on: "OpenRun") -> str:
    from .evaluation.job import Doing, EvaluationJob
    from .evaluation.summary import fingerprint_of_all

    job = EvaluationJob.model_validate({**run.arguments, **({"folder": folder} if folder else {})})
    results = asyncio.run(Doing(settings, lm_of=going_on.lms.get).evaluate(job))
    return fingerprint_of_all(results.values())
