"""Replay: do a run's work again with no LM and no network, and see that it comes to the same."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .data.call import Run
from .data.errors import InputError
from .data.persona import Persona, PersonaVersion, fingerprint_of
from .data.task import task_named
from .home import copy_user, scratch_store
from .journal import LOSS, REVISION, OpenRun, open_run
from .optimizers import PersonaAlignment, examples, latest
from .personas import certified_of, decisions_of, equipped, program
from .programs import AgentSettings
from .programs.scope import within
from .settings import Settings

if TYPE_CHECKING:
    from .data.alignment import Alignment
    from .data.store import Store, User


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
        folder: Where the data of an evaluation are now, if not where they were.

    Raises:
        DivergenceError: Code, prompts, settings or data have changed: at this call, and in this way.
        InputError: Such a run cannot be replayed.
    """
    run = store.journal.run(run_id)
    with open_run(store.journal, run, {}, replay=True) as open_:
        match run.command:
            case "align":
                made, recorded = _align(store, run, open_, settings)
            case "evaluate":
                made, recorded = _evaluate(run, settings, folder, open_), store.journal.result(run_id)
            case other:
                raise InputError(f"run {run_id} is a run of `{other}`: only alignments and evaluations can be replayed")
        return Replayed(open_.repeated, made, recorded)


def _align(store: "Store", run: Run, open_: OpenRun, settings: Settings) -> tuple[str, str]:
    recorded = [
        (user, known, alignment)
        for user in store.users()
        for known in [user.alignments.all()]
        for alignment in known
        if alignment.alignment_id == f"{run.run_id}-{user.key}"
    ]
    if not recorded:
        raise InputError(
            f"run {run.run_id} has recorded no alignment here: take it up again, or replay it where it ran"
        )
    made: list[Persona] = []
    for user, known, alignment in recorded:
        optimizer = PersonaAlignment(
            mode="paper" if alignment.settings["mode"] == "paper" else "evidence",
            n=_number(alignment, "n"),
            iterations=_number(alignment, "iterations"),
            loss_lm=open_.lm(LOSS),
            revision_lm=open_.lm(REVISION),
        )
        before = known[: known.index(alignment)]
        with scratch_store(settings) as scratch, within(user_key=user.key):
            made.append(_aligned_again(user, before, alignment, optimizer, scratch))
    return fingerprint_of(made), fingerprint_of([alignment.persona for _, _, alignment in recorded])


def _aligned_again(
    user: "User", before: "tuple[Alignment, ...]", alignment: "Alignment", optimizer: PersonaAlignment, scratch: "Store"
) -> Persona:
    copy = copy_user(user, scratch, None, _number(alignment, "history"))
    history = copy.interactions.all()
    number = alignment.base_version or 1
    base = PersonaVersion(
        number=number, persona=alignment.base, status="live", reason="as recorded", at=alignment.started_at
    )
    task = task_named(latest(history, optimizer.n)[-1].task)
    student = program(copy, base, task, AgentSettings.model_validate(alignment.settings["agent"]))
    student.decisions = decisions_of(before)
    return equipped(optimizer, student, certified_of(alignment)).compile(student, trainset=examples(history)).persona


def _number(alignment: "Alignment", setting: str) -> int:
    return int(str(alignment.settings[setting]))


def _evaluate(run: Run, settings: Settings, folder: Path | None, open_: OpenRun) -> str:
    from .evaluation.run import EvaluationJob, run_job
    from .evaluation.summary import fingerprint_of_all

    job = EvaluationJob.model_validate({**run.arguments, **({"folder": folder} if folder else {})})
    evaluations = asyncio.run(run_job(job, settings, lm_of=open_.lms.get))
    return fingerprint_of_all(evaluations.values())
