"""What is done with one user's personas: make the first, give the program that speaks under one, align the live one."""

from collections.abc import Sequence
from datetime import UTC, datetime

from .data.alignment import Alignment
from .data.errors import InputError
from .data.interaction import Interaction
from .data.lamp.tasks import task_named
from .data.persona import PersonaVersion
from .data.statement import Memory
from .data.store import User
from .data.task import Task
from .optimizers import LatestInteractions, PersonaAlignment, examples, initial_persona
from .programs import PersonaAgent
from .programs.summarise_history import SummariseHistory, summary_topic

_FIRST_BATCH = 3
_WORTH_A_SUMMARY = 10
"""New interactions of a task that bring its summary up to date."""


def program(user: User, version: PersonaVersion, task: Task | None = None) -> PersonaAgent:
    """Return the program that answers as `user` under one persona version.

    Args:
        user: Whose memory.
        version: The persona to speak under.
        task: What will be asked; by default the task of the user's latest interaction.
    """
    agent = PersonaAgent(task or _task_of(user), user.memory)
    agent.speak_under(version.persona, version.number)
    return agent


def live_persona(user: User) -> PersonaVersion:
    """Return the live version of a user's persona; the first is made if there is none."""
    if (live := user.personas.live) is not None:
        return live
    answered = [one for one in user.interactions.all() if one.ground_truth is not None]
    return first_persona(user, LatestInteractions().sample(answered, _FIRST_BATCH) if answered else ())


def first_persona(user: User, batch: Sequence[Interaction]) -> PersonaVersion:
    """Record and return a persona made from the interactions that are older than `batch`, the first to be simulated."""
    memory = user.memory.before(batch[0]) if batch else user.memory
    _summarise(user, memory)
    reason = f"first persona, from the {len(memory.history())} interactions before the first alignment batch"
    return user.personas.add(initial_persona(memory.statements()), reason=reason, status="live")


def align(user: User, optimizer: PersonaAlignment) -> tuple[Alignment, tuple[PersonaVersion, ...]]:
    """Align a user's live persona with the latest interactions and record the result.

    The first persona knows only what is older than the first batch; one that knows more is made anew, since it would
    hold the answers that are simulated.

    Returns:
        The alignment and the versions that it made, in order.

    Raises:
        InputError: The user has no interaction with a ground truth.
        LMError: The LM failed; no alignment was recorded.
    """
    history = user.interactions.all()
    batch = optimizer.sampling.sample(history, optimizer.n)
    base = user.personas.live
    if base is None or _holds_answers_of(batch, base):
        base = first_persona(user, batch)
    else:
        _summarise(user, user.memory.before(batch[0]))
    student = program(user, base, task_named(batch[-1].task))
    alignment = optimizer.compile(student, trainset=examples(history)).alignment
    return alignment, user.alignments.add(alignment)


def _holds_answers_of(batch: Sequence[Interaction], base: PersonaVersion) -> bool:
    return base.alignment_id is None and bool(base.persona.causes & {one.interaction_id for one in batch})


def _task_of(user: User) -> Task:
    history = user.interactions.all()
    if not history:
        raise InputError("this user has no interactions yet: ingest some first")
    return task_named(history[-1].task)


def _summarise(user: User, memory: Memory) -> None:
    """Let an LM abstract what is new of each free-text task in the visible history, if enough of it is new."""
    known = {statement.topic: statement for statement in memory.statements()}
    for name in sorted({one.task for one in memory.history()}):
        task = task_named(name)
        summary = known.get(summary_topic(task))
        summarised = set(summary.evidence) if summary else set[str]()
        new = [one for one in memory.history() if one.task == name and one.interaction_id not in summarised]
        if task.kind != "text" or not new or (summary and len(new) < _WORTH_A_SUMMARY):
            continue
        written = SummariseHistory()(interactions=new, known=summary, task=task, now=datetime.now(UTC)).statement
        if written is not None:
            user.statements.add(written)
