"""Runs: pieces of paid work whose calls are journalled, capped by a budget, and taken up again where they stopped."""

import json
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from ..data.call import AskedLM, Cost, Part, Run, RunEnd, as_written, note_name
from ..data.errors import InputError, SetupError, StoppedError
from ..data.store.journal import now
from .budget import Budget

if TYPE_CHECKING:
    import dspy
    from pydantic import JsonValue

    from ..data.store.journal import Journal
    from ..settings import Settings
    from .recorder import Recorder

AGENT, LOSS, REVISION = "agent", "loss", "revision"
"""The roles in which an LM is asked."""


class OpenRun:
    """A run that is going on; see `open_run`."""

    def __init__(self, run: Run, recorder: "Recorder", lms: "Mapping[str, dspy.LM]") -> None:
        self.run, self._recorder, self.lms = run, recorder, lms
        self.stopped: str | None = None
        """Why it ended early, if its work came to a result all the same."""
        self.result: str | None = None
        """A hash of its result."""

    @property
    def run_id(self) -> str:
        """The name under which it can be taken up again."""
        return self.run.run_id

    @property
    def repeated(self) -> int:
        """How many calls were answered from the journal."""
        return self._recorder.repeated

    @property
    def spent(self) -> Cost:
        """What it has spent until now, in all its stretches."""
        return self._recorder.purse.spent

    @property
    def least_worst_case(self) -> Cost:
        """What a call to the `agent` LM may cost at most if its prompt is empty."""
        from .engine import LONGEST_ANSWER, JournalEngine, most_tokens

        lm = self.lms[AGENT]
        price = lm.engine.price if isinstance(lm.engine, JournalEngine) else None
        answer = most_tokens(lm) or LONGEST_ANSWER
        return Cost(tokens=answer, dollars=price and price.of(0, answer))

    def refuse_unpaid_calls(self) -> None:
        """Refuse from now on every call to an LM that has no payer; see `paid_by`."""
        self._recorder.needs_payer = True

    @contextmanager
    def inside(self) -> Generator[None]:
        """Let the block ask the LMs of the run, in a task or thread that did not begin inside `open_run`."""
        import dspy

        from .recorder import recorder_here

        token = recorder_here.set(self._recorder)
        try:
            with dspy.context(lm=self.lms[AGENT], trace=None, disable_history=True):
                yield
        finally:
            recorder_here.reset(token)

    def lm(self, role: str) -> "dspy.LM":
        """Return the journalled LM of a role: `agent`, `loss` or `revision`."""
        return self.lms[role]


@contextmanager
def open_run(
    journal: "Journal",
    run: Run,
    lms: "Mapping[str, dspy.LM]",
    *,
    budget: Budget | None = None,
    price: str | None = None,
    replay: bool = False,
) -> Generator[OpenRun]:
    """Begin a run, or take one up again; programs called inside ask its `agent` LM, and every call is journalled.

    Args:
        journal: Where the run and its calls are recorded.
        run: What is done. A recorded run of this id must be the same work: its recorded calls are not repeated.
        lms: The LMs by role; a role that is not there is played by `agent`. A replay needs none.
        budget: What it may spend, earlier stretches included.
        price: What the LMs cost, where the table does not know; see `price_of`.
        replay: Answer from the journal alone, and record nothing.

    Raises:
        InputError: The recorded run of this id did something else.
        StoppedError: The run's work raised it: it can be taken up again under the run's id.
    """
    from .recorder import Recorder

    roles = by_role(lms)
    run = run.model_copy(update={"lms": _asked(roles, run) or run.lms})
    if not replay:
        _begin(journal, run)
    recorder = Recorder(journal, run.run_id, budget, replay=replay)
    with _recording(recorder, run, roles, price) as opened, nullcontext() if replay else _ending(journal, opened):
        yield opened


@contextmanager
def join_run(
    journal: "Journal", run: Run, lms: "Mapping[str, dspy.LM]", part: Part, *, price: str | None = None
) -> Generator[OpenRun]:
    """Do a part of a run that another process began and will end; otherwise as `open_run`, and without a budget.

    The journal is in PostgreSQL. If a third process has this part, and only seems to be gone, its end is waited for.

    Raises:
        SetupError: The run is not recorded here, or these are not its LMs.
    """
    from .recorder import Recorder

    roles = by_role(lms)
    if journal.find(run.run_id) is None:
        raise SetupError(f"run {run.run_id!r} is not recorded here: set PERSONAAGENT_DATABASE as where it began")
    for role, asked in _asked(roles, run).items():
        if asked != run.lms[role]:
            raise SetupError(
                f"{as_written(asked.model)} ({role}) is not the LM of run {run.run_id!r}, or not on its key: "
                "set the same keys as where it began, and install the same release"
            )
    with (
        journal.alone(run.run_id, part),
        _recording(Recorder(journal, run.run_id, part=part), run, roles, price) as opened,
    ):
        yield opened


def new_run(command: str, arguments: "Mapping[str, JsonValue] | None" = None, run_id: str | None = None) -> Run:
    """Return a run that has not begun; its name is by default made of the time."""
    name = run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    return Run(run_id=name, command=command, arguments=dict(arguments or {}), started_at=now())


def role_lms(settings: "Settings") -> "dict[str, dspy.LM]":
    """Open the LMs that the settings name, by role."""
    from ..lms import open_lm

    named = {AGENT: settings.lm, LOSS: settings.loss_lm, REVISION: settings.revision_lm}
    base, most_tokens, timeout = settings.api_base, settings.max_answer_tokens, settings.lm_timeout
    return {
        role: open_lm(name, api_base=base, max_tokens=most_tokens, timeout=timeout)
        for role, name in named.items()
        if name
    }


def note_names(run: Run) -> None:
    """Let the LMs of a run be called as its user wrote them, also where they are not opened."""
    for asked in run.lms.values():
        if asked.written:
            note_name(asked.model, asked.written)


def by_role(lms: "Mapping[str, dspy.LM]") -> "dict[str, dspy.LM]":
    """Return the LM of each role; one that is not there is played by `agent`."""
    return {role: lms.get(role, lms[AGENT]) for role in (AGENT, LOSS, REVISION)} if lms else {}


def _asked(roles: "Mapping[str, dspy.LM]", run: Run) -> dict[str, AskedLM]:
    from .engine import asked_lm

    return {role: asked_lm(lm, run.run_id) for role, lm in roles.items()}


@contextmanager
def _recording(recorder: "Recorder", run: Run, roles: "Mapping[str, dspy.LM]", price: str | None) -> Generator[OpenRun]:
    from .engine import journalled

    note_names(run)
    try:
        lms = {role: journalled(asked, recorder, role, roles.get(role), price) for role, asked in run.lms.items()}
        opened = OpenRun(run, recorder, lms)
        with opened.inside():
            yield opened
    finally:
        recorder.close()


def _begin(journal: "Journal", run: Run) -> None:
    recorded = journal.find(run.run_id)
    if recorded is None:
        journal.begin(run)
    elif _identity(recorded) != _identity(run):
        raise InputError(
            f"run {run.run_id!r} is recorded as {_identity(recorded)}, and this is {_identity(run)}: "
            "give this work a run id of its own"
        )


def _identity(run: Run) -> str:
    arguments = json.dumps(run.arguments, sort_keys=True)
    return f"`{run.command}` with {arguments} asking {', '.join(lm.model for lm in run.lms.values())}"


@contextmanager
def _ending(journal: "Journal", opened: OpenRun) -> Generator[None]:
    status: Literal["finished", "stopped", "failed"] = "failed"
    reason = ""
    try:
        yield
        status, reason = ("stopped", opened.stopped) if opened.stopped else ("finished", "")
    except StoppedError as stop:
        status, reason = "stopped", str(stop)
        raise
    except BaseException as error:
        reason = type(error).__name__
        raise
    finally:
        journal.end(opened.run_id, RunEnd(status=status, reason=reason, result=opened.result, at=now()))
