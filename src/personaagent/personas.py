"""A user's personas: the first, the live one, the program that speaks under one."""

from collections.abc import Sequence
from datetime import UTC, datetime

from .data.alignment import Alignment
from .data.change import Decision
from .data.errors import InputError
from .data.interaction import SAID, Interaction
from .data.memory.user_memory import UserMemory
from .data.persona import PersonaVersion
from .data.said import said_lines
from .data.statement import Memory
from .data.store import User
from .data.task import OPEN, Task, task_named
from .journal.tools import recorded_tool
from .optimizers import initial_persona, latest
from .programs import AgentSettings, PersonaAgent
from .programs.scope import within
from .programs.summarise_history import SummariseHistory, summary_topic
from .programs.tools.wikipedia import wikipedia_tool

_FIRST_BATCH = 3
_WORTH_A_SUMMARY = 10
"""New interactions of a task that bring its summary up to date."""


def program(
    user: User, version: PersonaVersion, task: Task | None = None, settings: AgentSettings | None = None
) -> PersonaAgent:
    """Return the program that answers as `user` under one persona version.

    Args:
        user: Whose memory.
        version: The persona to speak under.
        task: What will be asked; by default the task of the user's latest interaction.
        settings: How it works.
    """
    settings = settings or AgentSettings()
    agent = PersonaAgent(
        task or _task_of(user),
        user.memory,
        persona=version.persona,
        version=version.number,
        tools=[recorded_tool(wikipedia_tool())] if settings.preset == "paper" else [],
        settings=settings,
    )
    agent.decisions = decisions_of(user.alignments.all())
    return agent


def decisions_of(alignments: Sequence[Alignment]) -> tuple[Decision, ...]:
    """Return what is decided of every change of a user after these alignments, oldest first."""
    return next((one.decisions for one in reversed(alignments) if one.decisions), ())


def live_persona(user: User, settings: AgentSettings | None = None) -> PersonaVersion:
    """Return the live version of a user's persona; the first is made if there is none."""
    if (live := user.personas.live) is not None:
        return live
    answered = [one for one in user.interactions.all() if one.ground_truth is not None]
    return first_persona(user, latest(answered, _FIRST_BATCH) if answered else (), settings)


def first_persona(user: User, batch: Sequence[Interaction], settings: AgentSettings | None = None) -> PersonaVersion:
    """Record and return a persona made from the interactions that are older than `batch`, the first to be simulated.

    Args:
        user: Whose persona.
        batch: The interactions to be simulated, oldest first; if there are none, the persona may know all others.
        settings: How the program works that will speak under it. In the paper, an LM summarises texts first.
    """
    preset = (settings or AgentSettings()).preset
    memory = user.memory.before(batch[0]) if batch else user.memory
    if preset == "paper":
        summarise(user, memory)
    reason = f"first persona, from the {len(memory.history())} interactions before the first alignment batch"
    persona = initial_persona(memory.statements(), preset).with_said(said_lines(user.memory.said()))
    return user.personas.add(persona, reason=reason, status="live")


def keep_said(user: User, reason: str) -> PersonaVersion:
    """Return the live persona with all that the user states, recorded for `reason` if it lacks any of it."""
    live = live_persona(user)
    while (persona := live.persona.with_said(said_lines(user.memory.said()))) != live.persona:
        user.personas.add(persona, reason=reason, status="live", parent=live.number)
        live = live_persona(user)  # Another process may have recorded one, and been told something.
    return live


def adopt(user: User, program: PersonaAgent, origin: str) -> PersonaVersion:
    """Record what another optimizer made of a user's program as the user's live persona.

    Args:
        user: Whose persona.
        program: As the optimizer returned it.
        origin: The optimizer's name.

    Raises:
        InputError: The program is another user's, or the optimizer changed nothing.
    """
    if isinstance(program.memory, UserMemory) and program.memory.user_key != user.key:
        raise InputError("this program was made for another user: what it holds is not this user's to see")
    adopted = program.learnt(origin)
    if adopted is None:
        raise InputError(f"{origin} left the program as its persona makes it: there is nothing to adopt")
    persona = program.persona.model_copy(update={"adopted": adopted})
    reason = f"adopted from {origin}: {', '.join(sorted(adopted.predictors))}"
    return user.personas.add(persona, reason=reason, status="live", parent=program.persona_version)


def summarise(user: User, memory: Memory) -> None:
    """Let an LM abstract what is new of each free-text task in the visible history, if enough of it is new."""
    history = memory.history()
    if not history:
        return
    known = {statement.topic: statement for statement in memory.statements()}
    for name in sorted({one.task for one in history}):
        task = task_named(name)
        summary = known.get(summary_topic(task))
        summarised = set(summary.evidence) if summary else set[str]()
        new = [one for one in history if one.task == name and one.interaction_id not in summarised]
        if task.kind != "text" or not new or (summary and len(new) < _WORTH_A_SUMMARY):
            continue
        with within(user_key=user.key):
            written = SummariseHistory()(interactions=new, known=summary, task=task, now=datetime.now(UTC)).statement
        if written is not None:
            user.statements.add(written)


def _task_of(user: User) -> Task:
    tasks = [one.task for one in user.interactions.all()]
    if not tasks:
        raise InputError("this user has no interactions yet: ingest some first")
    asked = [task for task in tasks if task != SAID]
    return task_named(asked[-1]) if asked else OPEN
