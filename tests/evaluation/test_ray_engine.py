"""One user's job as a cluster does it, without a cluster."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from personaagent import lms
from personaagent.data.call import Run
from personaagent.data.errors import SetupError
from personaagent.data.lamp import LampData, LampUser
from personaagent.data.store import Store
from personaagent.evaluation import (
    ListedMethod,
    MajorityMethod,
    PersonaAgentMethod,
    PromptMethod,
    Resources,
    Row,
    UserPrepared,
)
from personaagent.evaluation.answering import MethodJob
from personaagent.evaluation.calibration import with_weights
from personaagent.evaluation.ray_engine import answer_user, portable_settings
from personaagent.evaluation.record import fingerprint
from personaagent.evaluation.run import LocalEngine
from personaagent.journal import new_run, open_run, role_lms
from personaagent.programs.scope import within
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from ..loopback import Loopback, loopback
from ..postgres import PostgresServer
from .conftest import TASK

KEY = "sk-made-up-secret"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with loopback() as up:
        yield up


@pytest.fixture
def settings(postgres: PostgresServer, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a machine whose environment has a database, with a password, and a key."""
    url = postgres.new_url().replace("tester@", "tester:a-made-up-password@")
    monkeypatch.setenv("PERSONAAGENT_DATABASE", url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(lms, "open_embedder", lambda _name: HashEmbedder())
    return Settings(lm="openai/made-up", api_base=server.url)


@pytest.fixture
def run(settings: Settings) -> Iterator[Run]:
    """A run that is open in this process."""
    with Store.open(settings.database or "") as store, open_run(store.journal, new_run("t"), role_lms(settings)) as run:
        yield run.run


def sent(
    job: MethodJob, user: LampUser, settings: Settings, run: Run | None
) -> tuple[MethodJob, tuple[str, ...], Run | None, dict[str, str | Path | None]]:
    """Return what is sent to another machine."""
    return replace(job, users=(user,)), (TASK.name,), run, portable_settings(settings)


@pytest.mark.parametrize("method", [PromptMethod(), PersonaAgentMethod()], ids=lambda method: method.name)
def test_what_was_answered_here_is_answered_the_same_elsewhere_and_costs_nothing_more(
    method: ListedMethod, data: LampData, settings: Settings, server: Loopback
) -> None:
    here: list[UserPrepared | Row] = []
    with (
        Store.open(settings.database or "") as store,
        open_run(store.journal, new_run("test"), role_lms(settings)) as run,
    ):
        engine = LocalEngine(lambda task: Resources(task, settings, run.lms.get))
        with within(TASK.name), Resources(TASK, settings, run.lms.get) as resources:
            job = asyncio.run(with_weights(MethodJob(method, TASK, data.users), resources))
            asyncio.run(engine.answer(job, here.append))
        asked = len(server.received)
        there = [event for user in data.users for event in answer_user(*sent(job, user, settings, run.run))]
    assert asked > 0
    assert len(server.received) == asked
    assert fingerprint(rows(there)) == fingerprint(rows(here))
    assert personas(there) == personas(here)
    assert all(personas(there)) is isinstance(method, PersonaAgentMethod)


def rows(events: list[UserPrepared | Row]) -> list[Row]:
    return [event for event in events if isinstance(event, Row)]


def personas(events: list[UserPrepared | Row]) -> list[object]:
    return [event.persona for event in events if isinstance(event, UserPrepared)]


def test_no_key_and_no_password_travels(data: LampData, settings: Settings, run: Run) -> None:
    assert "a-made-up-password" in repr(settings)
    written = repr(sent(MethodJob(PromptMethod(), TASK, data.users), data.users[0], settings, run))
    assert "openai/made-up" in written
    assert "a-made-up-password" not in written
    assert KEY not in written


def test_a_method_that_asks_no_lm_needs_no_database(data: LampData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSONAAGENT_DATABASE", raising=False)
    events = answer_user(*sent(MethodJob(MajorityMethod(), TASK, data.users), data.users[0], Settings(), None))
    assert [(row.question_id, row.parsed) for row in rows([*events])] == [("q1", "classic"), ("q2", "classic")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda patch: patch.delenv("PERSONAAGENT_DATABASE"), "PERSONAAGENT_DATABASE is not set"),
        (lambda patch: patch.setenv("PERSONAAGENT_DATABASE", "sqlite://"), "not recorded here"),
        (lambda patch: patch.setenv("OPENAI_API_KEY", "another"), "not on its key"),
    ],
)
def test_a_machine_that_is_not_set_up_is_named(
    data: LampData,
    settings: Settings,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], None],
    problem: str,
) -> None:
    change(monkeypatch)
    with pytest.raises(SetupError, match=f"^on .+: .*{problem}"):
        answer_user(*sent(MethodJob(PromptMethod(), TASK, data.users), data.users[0], settings, run))
