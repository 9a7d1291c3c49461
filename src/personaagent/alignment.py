"""Aligning users' live personas, and recording what comes of it."""

import asyncio
import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import TypeAdapter

from .certificates import Certificates
from .data.alignment import Alignment
from .data.answer_weights import AnswerWeights
from .data.change import ChangeKind
from .data.interaction import Interaction
from .data.persona import PersonaVersion
from .data.store import User
from .data.task import task_named
from .forgetting import take_back
from .optimizers import EvidenceMode, PersonaAlignment, examples, latest
from .optimizers.acceptance import EProcess
from .optimizers.evidence import default_proposers
from .optimizers.proposers import Proposer, ProposeRules, ProposeWeights
from .personas import first_persona, keep_said, program, summarise
from .programs import AgentSettings, PersonaAgent
from .programs.cancelling import cancellation_here
from .programs.lm_here import model_here
from .programs.module import in_thread
from .programs.scope import within


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
) -> tuple[Alignment, tuple[PersonaVersion, ...]]:
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
        aligned = equipped(optimizer, certified).compile(student, trainset=examples(history))
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
) -> tuple[Alignment, tuple[PersonaVersion, ...]]:
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
) -> list[tuple[Alignment, tuple[PersonaVersion, ...]]]:
    """Align several users, and record each result as soon as it is there.

    Args:
        users: Whose personas.
        optimizer: How they are aligned.
        run_id: The run that this is part of; an alignment that it has recorded already is not done again.
        certificates: As for `align`.
        concurrency: How many users at once.
        aligned: Is called, in a thread, with each user whose alignment is recorded.
    """
    turns = asyncio.Semaphore(concurrency)

    async def one(user: User) -> tuple[Alignment, tuple[PersonaVersion, ...]]:
        async with turns:
            result = await aalign(user, optimizer, f"{run_id}-{user.key}", certificates=certificates)
        await asyncio.to_thread(aligned, user)
        return result

    return await asyncio.gather(*map(one, users))


def _recorded(user: User, alignment_id: str | None) -> tuple[Alignment, tuple[PersonaVersion, ...]] | None:
    done = next((one for one in user.alignments.all() if one.alignment_id == alignment_id), None)
    if done is None:
        return None
    return done, tuple(version for version in user.personas.versions() if version.alignment_id == alignment_id)


def _student(
    user: User, optimizer: PersonaAlignment, alignment_id: str | None, settings: AgentSettings | None
) -> PersonaAgent:
    """Return the program to align: under the live persona, or the one that an interrupted alignment began with."""
    settings = settings or AgentSettings(preset="paper" if optimizer.mode == "paper" else "lean")
    history = user.interactions.all()
    batch = latest(history, optimizer.n)
    begun = [one for one in user.alignments.all() if alignment_id and one.alignment_id.startswith(f"{alignment_id}.")]
    base = user.personas.live
    if begun and begun[0].base_version is not None:
        base = user.personas.get(begun[0].base_version)
    elif base is None or _holds_answers_of(user, batch, base):
        base = first_persona(user, batch, settings)
    elif settings.preset == "paper":
        summarise(user, user.memory.before(batch[0]))
    return program(user, base, task_named(batch[-1].task), settings)


def _certified(student: PersonaAgent, certificates: Certificates) -> Certified:
    lm, task, form = model_here(), student.task, student.settings.form
    found = certificates.suiting(lm, task, form)
    return Certified() if found is None else Certified(found.kinds_for(lm, task.name, form), found.weights)


def equipped(optimizer: PersonaAlignment, certified: Certified) -> PersonaAlignment:
    """Return the optimizer with the proposers and the acceptance that suit the LM of the context.

    One in paper mode, or in an evidence mode of one's own, stays as it is.
    """
    if optimizer.mode != "evidence":
        return optimizer
    proposers: list[Proposer] = [*default_proposers()]
    if certified.weights is not None:
        proposers.insert(0, ProposeWeights(certified.weights))
    if not model_here().startswith("embedded/"):
        proposers.append(ProposeRules(optimizer.loss_lm, optimizer.revision_lm))
    with_them = copy.copy(optimizer)
    with_them.mode = EvidenceMode(proposers, EProcess(certified.kinds))
    return with_them


def certified_of(alignment: Alignment) -> Certified:
    """Return what an alignment took from a certificate, as its record says."""
    weights = alignment.settings.get("weights")
    kinds = TypeAdapter(frozenset[ChangeKind]).validate_python(alignment.settings.get("certified", []))
    return Certified(kinds, None if weights is None else AnswerWeights.model_validate(weights))


def _noting(alignment: Alignment, certified: Certified) -> Alignment:
    if alignment.settings["mode"] != "evidence":
        return alignment
    weights = None if certified.weights is None else certified.weights.model_dump(mode="json")
    taken = {"certified": sorted(certified.kinds), "weights": weights}
    return alignment.model_copy(update={"settings": {**alignment.settings, **taken}})


def _keep(user: User, alignment: Alignment, alignment_id: str | None) -> tuple[Alignment, tuple[PersonaVersion, ...]]:
    if alignment.stopped and alignment.persona == alignment.base:
        return alignment, ()
    if alignment_id is not None:
        part = f".part-{len(user.alignments.all())}" if alignment.stopped else ""
        alignment = alignment.model_copy(update={"alignment_id": alignment_id + part})
    return alignment, user.alignments.add(alignment)


def _catch_up(user: User, history: Sequence[Interaction]) -> None:
    """Let the persona follow what the user stated, or had forgotten, while `history` was aligned."""
    known = {one.interaction_id for one in user.interactions.all()}
    for one in history:
        if one.interaction_id not in known:
            take_back(user, one.interaction_id)
    if user.memory.said():
        keep_said(user, "with what the user stated while it was aligned")


def _holds_answers_of(user: User, batch: Sequence[Interaction], base: PersonaVersion) -> bool:
    origin = base  # What the user stated or had forgotten made versions of their own.
    while origin.alignment_id is None and origin.parent is not None:
        origin = user.personas.get(origin.parent)
    if origin.alignment_id is not None or base.persona.adopted is not None:
        return False
    return bool(base.persona.causes & {one.interaction_id for one in batch})
