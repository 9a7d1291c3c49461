"""A user's personas: the first, the live one, the program that speaks under one, and the alignment that changes it."""

import asyncio
import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import dspy
from pydantic import JsonValue, TypeAdapter

from .certificates import Certificates
from .data.alignment import Alignment
from .data.answer_weights import AnswerWeights
from .data.change import ChangeKind, Decision
from .data.errors import InputError
from .data.interaction import SAID, Interaction
from .data.memory.user_memory import UserMemory
from .data.persona import PersonaVersion
from .data.said import said_lines
from .data.statement import Memory
from .data.store import User
from .data.task import OPEN, Task, task_named
from .forgetting import take_back
from .journal.tools import recorded_tool
from .optimizers import EvidenceMode, PersonaAlignment, examples, initial_persona, latest
from .optimizers.acceptance import EProcess
from .optimizers.evidence import default_proposers
from .optimizers.simulation import LM_PROBABILITIES, SERVED_BY
from .programs import AgentSettings, PersonaAgent
from .programs.module import in_thread, model_here
from .programs.scope import cancellation_here, within
from .programs.summarise_history import SummariseHistory, summary_topic
from .programs.tools.wikipedia import wikipedia_tool
from .progress import following

_FIRST_BATCH = 3
_WORTH_A_SUMMARY = 10
"""New interactions of a task that bring its summary up to date."""

Aligned: TypeAlias = tuple[Alignment, tuple[PersonaVersion, ...]]
"""An alignment and the versions that it made, in order."""


def program(
    user: User,
    version: PersonaVersion,
    task: Task | None = None,
    settings: AgentSettings | None = None,
    tools: Sequence[dspy.Tool] = (),
) -> PersonaAgent:
    """Return the program that answers `task`, by default the latest, as `user` under one persona version."""
    settings = settings or AgentSettings()
    default = [wikipedia_tool()] if settings.preset == "paper" else []
    agent = PersonaAgent(
        task or _task_of(user),
        user.memory,
        persona=version.persona,
        version=version.number,
        tools=[recorded_tool(tool) for tool in (*default, *tools)],
        settings=settings,
    )
    agent.decisions = decisions_of(user.alignments.all())
    return agent


def decisions_of(alignments: Sequence[Alignment]) -> tuple[Decision, ...]:
    """Return what is decided of every change of a user after these alignments, oldest first."""
    return next((alignment.decisions for alignment in reversed(alignments) if alignment.decisions), ())


def live_persona(user: User, settings: AgentSettings | None = None) -> PersonaVersion:
    """Return the live version of a user's persona; the first is made if there is none."""
    if (live := user.personas.live) is not None:
        return live
    answered = [interaction for interaction in user.interactions.all() if interaction.ground_truth is not None]
    return first_persona(user, latest(answered, _FIRST_BATCH) if answered else (), settings)


def exchange_of(
    interaction_id: str, query: str, task: Task, prediction: dspy.Prediction, served_by: str | None
) -> Interaction:
    """Return what was asked and answered just now, to be stored.

    Args:
        interaction_id: The id that it is to have.
        query: What was asked.
        task: In which form it was answered.
        prediction: What the user's program answered.
        served_by: The LM, for a later alignment to use the answer in place of a simulation; None if it cannot.
    """
    evidence: dict[str, JsonValue] = {SERVED_BY: served_by} if served_by else {}
    if served_by and prediction.lm_probabilities is not None:
        evidence[LM_PROBABILITIES] = dict(prediction.lm_probabilities)
    return Interaction(
        interaction_id=interaction_id,
        query=query,
        response=prediction.response,
        persona_version=prediction.persona_version,
        at=datetime.now(UTC),
        task=task.name,
        metadata=evidence,
    )


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
    """Record what another optimizer made of a user's program as the user's live persona; see `Home.adopt`."""
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
    for name in sorted({interaction.task for interaction in history}):
        task = task_named(name)
        summary = known.get(summary_topic(task))
        summarised = set(summary.evidence) if summary else set[str]()
        new = [each for each in history if each.task == name and each.interaction_id not in summarised]
        if task.kind != "text" or not new or (summary and len(new) < _WORTH_A_SUMMARY):
            continue
        with within(user_key=user.key):
            written = SummariseHistory()(interactions=new, known=summary, task=task, now=datetime.now(UTC)).statement
        if written is not None:
            user.statements.add(written)


def _task_of(user: User) -> Task:
    tasks = [interaction.task for interaction in user.interactions.all()]
    if not tasks:
        raise InputError("this user has no interactions yet: ingest some first")
    asked = [task for task in tasks if task != SAID]
    return task_named(asked[-1]) if asked else OPEN


class Certified(NamedTuple):
    """What an alignment takes from a certificate; its record has it, so that it can be done again."""

    kinds: frozenset[ChangeKind] = frozenset()
    """Kinds of change that go live at once."""
    weights: AnswerWeights | None = None
    """Answer weights to propose."""


def align(
    user: User,
    optimizer: PersonaAlignment,
    alignment_id: str | None = None,
    settings: AgentSettings | None = None,
    certificates: Certificates | None = None,
) -> Aligned:
    """Align a user's live persona with the latest interactions and record the result.

    The first persona knows only what is older than the first batch; one that knows more is made anew, since it would
    hold the answers that are simulated.

    Args:
        user: Whose persona.
        optimizer: How it is aligned.
        alignment_id: The alignment's name, by default a new one. One that is recorded already is not done again.
        settings: How the program works that is aligned.
        certificates: Say which kinds of change go live at once, and how far LM, prior and memory are believed.

    Returns:
        The alignment and the versions that it made, in order. One that a budget stopped before its first candidate was
        accepted is not recorded.

    Raises:
        InputError: The user has no interaction with a ground truth.
        LMError: The LM failed; no alignment was recorded.
        BudgetError: The budget did not allow the calls before the alignment itself.
    """
    with within(user_key=user.key):
        if (recorded := _recorded(user, alignment_id)) is not None:
            return recorded
        student = _student(user, optimizer, alignment_id, settings)
        certified = _certified(student, certificates or Certificates())
        history = user.interactions.all()
        aligned = equipped(optimizer, student, certified).compile(student, trainset=examples(history))
        cancellation_here().stop_if_cancelled()
        kept = _keep(user, _noting(aligned.alignment, certified), alignment_id)
        _catch_up(user, history)
        return kept


async def aalign(
    user: User,
    optimizer: PersonaAlignment,
    alignment_id: str | None = None,
    settings: AgentSettings | None = None,
    certificates: Certificates | None = None,
) -> Aligned:
    """Do what `align` does, in a thread; cancelled, it makes no more calls and records no alignment."""
    return await in_thread(align, user, optimizer, alignment_id, settings, certificates)


async def align_all(
    users: Sequence[User],
    optimizer: PersonaAlignment,
    run_id: str,
    *,
    certificates: Certificates | None = None,
    concurrency: int = 1,
    aligned: Callable[[User], object] = lambda _user: None,
) -> list[Aligned]:
    """Align several users as a part of a run, `concurrency` at once, and record each result as soon as it is there.

    An alignment that the run has recorded already is not done again. `aligned` is called, in a thread, with each user
    whose alignment is recorded. A progress bar is shown, see `personaagent.progress`.
    """
    turns = asyncio.Semaphore(concurrency)

    async def align_user(user: User) -> Aligned:
        async with turns:
            result = await aalign(user, followed, f"{run_id}-{user.key}", certificates=certificates)
        await asyncio.to_thread(aligned, user)
        return result

    with following(optimizer, len(users)) as followed:
        return await asyncio.gather(*map(align_user, users))


def equipped(optimizer: PersonaAlignment, student: PersonaAgent, certified: Certified) -> PersonaAlignment:
    """Return the optimizer, if its mode is "evidence", with the proposers and acceptance that suit student and LM."""
    if optimizer.mode != "evidence":
        return optimizer
    proposers = default_proposers(student, certified.weights, optimizer.loss_lm, optimizer.revision_lm)
    with_them = copy.copy(optimizer)
    with_them.mode = EvidenceMode(proposers, EProcess(certified.kinds))
    return with_them


def certified_of(alignment: Alignment) -> Certified:
    """Return what an alignment took from a certificate, as its record says."""
    weights = alignment.settings.get("weights")
    kinds = TypeAdapter(frozenset[ChangeKind]).validate_python(alignment.settings.get("certified", []))
    return Certified(kinds, None if weights is None else AnswerWeights.model_validate(weights))


def _recorded(user: User, alignment_id: str | None) -> Aligned | None:
    done = next((each for each in user.alignments.all() if each.alignment_id == alignment_id), None)
    if done is None:
        return None
    return done, tuple(version for version in user.personas.versions() if version.alignment_id == alignment_id)


def _student(
    user: User, optimizer: PersonaAlignment, alignment_id: str | None, settings: AgentSettings | None
) -> PersonaAgent:
    """Return the program to align: under the live persona, or the one that an interrupted alignment began with."""
    settings = settings or AgentSettings(preset="paper" if optimizer.mode == "paper" else "lean")
    batch = latest(user.interactions.all(), optimizer.n)
    begun = [
        each for each in user.alignments.all() if alignment_id and each.alignment_id.startswith(f"{alignment_id}.")
    ]
    base = user.personas.live
    if begun and begun[0].base_version is not None:
        base = user.personas.get(begun[0].base_version)
    elif base is None or _holds_answers_of(user, batch, base):
        base = first_persona(user, batch, settings)
    elif settings.preset == "paper":
        summarise(user, user.memory.before(batch[0]))
    return program(user, base, task_named(batch[-1].task), settings)


def _holds_answers_of(user: User, batch: Sequence[Interaction], base: PersonaVersion) -> bool:
    origin = base  # What the user stated or had forgotten made versions of their own.
    while origin.alignment_id is None and origin.parent is not None:
        origin = user.personas.get(origin.parent)
    if origin.alignment_id is not None or base.persona.adopted is not None:
        return False
    return bool(base.persona.causes & {interaction.interaction_id for interaction in batch})


def _certified(student: PersonaAgent, certificates: Certificates) -> Certified:
    lm, task, form = model_here(), student.task, student.settings.form
    return Certified(certificates.kinds(lm, task, form), certificates.weights(lm, task, form))


def _noting(alignment: Alignment, certified: Certified) -> Alignment:
    """Return the alignment with what it took from a certificate in its settings."""
    if alignment.settings["mode"] != "evidence":
        return alignment
    weights = None if certified.weights is None else certified.weights.model_dump(mode="json")
    taken = {"certified": sorted(certified.kinds), "weights": weights}
    return alignment.model_copy(update={"settings": {**alignment.settings, **taken}})


def _keep(user: User, alignment: Alignment, alignment_id: str | None) -> Aligned:
    if alignment.stopped and alignment.persona == alignment.base:
        return alignment, ()
    if alignment_id is not None:
        part = f".part-{len(user.alignments.all())}" if alignment.stopped else ""
        alignment = alignment.model_copy(update={"alignment_id": alignment_id + part})
    return alignment, user.alignments.add(alignment)


def _catch_up(user: User, history: Sequence[Interaction]) -> None:
    """Let the persona follow what the user stated, or had forgotten, while `history` was aligned."""
    known = {interaction.interaction_id for interaction in user.interactions.all()}
    for interaction in history:
        if interaction.interaction_id not in known:
            take_back(user, interaction.interaction_id)
    if user.memory.said():
        keep_said(user, "with what the user stated while it was aligned")
