"""Two processes of one server, here two deployments on one PostgreSQL: what one begins, the other can end."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from personaagent.data.alignment import Job
from personaagent.data.errors import StorageError, UnknownUserError
from personaagent.data.interaction import Interaction
from personaagent.data.memory.chroma_index import EpisodeIndex
from personaagent.data.store import Store, User, user_key
from personaagent.data.task import OPEN
from personaagent.erasure import Receipt
from personaagent.journal import AGENT, new_run, open_run
from personaagent.lms import open_lm
from personaagent.programs import AgentSettings
from personaagent.serving.answering import Caller, Question
from personaagent.serving.configuration import Serving
from personaagent.serving.deployment import Deployment
from personaagent.testing import HashEmbedder

from ..journal.deterministic_lm import deterministic_lm
from ..postgres import PostgresServer
from .waiting import wait_until

SHARED = Serving(align_every=0, agent=AgentSettings(action=False), alone=False)


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


def asking(deployment: Deployment) -> Caller:
    """Return the one user, with a new key."""
    return Caller(deployment.store.keys.create("user", user_id="maya")[0], deployment.store.user("maya"))


class Two(NamedTuple):
    """Two processes, and the one user of their server."""

    here: Deployment
    there: Deployment

    @property
    def user(self) -> User:
        """The user, as the first process has it."""
        return self.here.store.user("maya")

    async def begun_there(self) -> Job:
        """Begin a long alignment in the second process, and return it once it runs."""
        job = await self.there.learner.begin(asking(self.there), "asked", n=3, iterations=10)
        await until(lambda: self.here.store.journal.ledger(user_key=user_key("maya")))
        return job


@contextmanager
def deployed(url: str, api_base: str) -> Generator[Deployment]:
    with EpisodeIndex(None, HashEmbedder()) as index, Store.open(url, index=index) as store:
        lm = open_lm("openai/made-up", api_base=api_base)

        def erase(user_id: str) -> Receipt:
            removed = store.people.erase(user_id)
            store.people.erase_episodes(user_key(user_id))
            return Receipt(user_key=user_key(user_id), removed=removed, at=datetime.now(UTC))

        journal = store.journal.of_stored()
        with open_run(journal, new_run("serve"), {AGENT: lm}) as run:
            deployment = Deployment(store, run, SHARED, erase=erase)
            with deployment.workers.registered(run.run_id):
                yield deployment


@pytest.fixture
def two(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    url = postgres.new_url()
    with ExitStack() as running:
        api_base = running.enter_context(deterministic_lm(0.5))
        here, there = (running.enter_context(deployed(url, api_base)) for _ in range(2))
        known = [Interaction(interaction_id=name, query="a film?", ground_truth="a quiet one") for name in "1234"]
        here.store.add_user("maya").interactions.add(known)
        yield Two(here, there)


async def test_an_alignment_of_another_process_is_cancelled(two: Two) -> None:
    job = await two.begun_there()
    assert not two.here.learner.is_here(two.user, job)
    assert await asyncio.to_thread(two.here.learner.is_under_way, two.user, job)
    cancelled = await two.here.learner.cancel(two.user, job)
    assert (cancelled.state, cancelled.ended_at is None) == ("cancelled", False)
    assert not two.there.learner.is_here(two.user, job)


def test_a_cancellation_just_before_an_alignments_turn_is_not_lost(two: Two) -> None:
    job = two.there.learner._new_job(asking(two.there), "asked", n=3, iterations=10)
    two.here.learner._request_cancellation(two.user, job)
    assert two.there.learner._put_running_if_next(two.user, job) is None
    assert two.user.jobs.get(job.job_id).state == "cancelling"


def test_a_cancellation_of_what_has_just_ended_changes_nothing(two: Two) -> None:
    job = two.there.learner._new_job(asking(two.there), "asked", n=3, iterations=1)
    ended = two.there.learner._put_ended(two.user, job.model_copy(update={"state": "finished"}))
    two.here.learner._request_cancellation(two.user, job)
    assert two.user.jobs.get(job.job_id) == ended


async def test_an_erasure_ends_the_alignment_of_another_process_first(two: Two) -> None:
    user, job = two.user, await two.begun_there()
    receipt = await two.here.erase(user)
    assert (receipt.removed["interactions"], receipt.removed["jobs"]) == (4, 1)
    assert not two.there.learner.is_here(user, job)
    await asyncio.sleep(0.5)
    assert [two.here.store.journal.calls(run.run_id) for run in two.here.store.journal.runs()] == [(), ()]


@pytest.mark.slow
async def test_two_processes_that_are_asked_at_once_align_one_after_the_other(two: Two) -> None:
    asked = [each.learner.begin(asking(each), "asked") for each in (two.here, two.there, two.here)]
    jobs: Sequence[Job] = await asyncio.gather(*asked)
    running: list[int] = []
    while not all(job.is_over for job in jobs):
        jobs = await asyncio.to_thread(two.user.jobs.all)
        running.append(sum(job.state == "running" for job in jobs))
        await asyncio.sleep(0.02)
    assert [job.state for job in jobs] == ["finished"] * 3
    assert max(running) == 1


async def test_an_answer_that_another_process_gives_leaves_nothing_of_a_user_who_is_erased_meanwhile(two: Two) -> None:
    answering = asyncio.create_task(two.there.answer(asking(two.there), Question("a film?", OPEN)))
    journal = two.here.store.journal
    await until(lambda: any(journal.calls(run.run_id) for run in journal.runs()))
    await two.here.erase(two.user)
    with pytest.raises(UnknownUserError):
        await answering
    assert [two.here.store.journal.calls(run.run_id) for run in two.here.store.journal.runs()] == [(), ()]
    assert two.there.store.people.erase_episodes(user_key("maya")) == 0


def cut_all(postgres: PostgresServer) -> None:
    """Cut every connection to the server, as a restart of it does."""
    with postgres.admin() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


@pytest.mark.slow
async def test_after_a_restart_of_postgres_a_worker_has_its_name_again_and_its_alignments_are_not_taken_for_lost(
    two: Two, postgres: PostgresServer
) -> None:
    job = await two.begun_there()
    cut_all(postgres)
    assert await asyncio.to_thread(two.here.learner.is_under_way, two.user, job)
    assert (await two.here.learner.cancel(two.user, job)).state == "cancelled"


@pytest.mark.slow
async def test_after_a_restart_of_postgres_an_erasure_leaves_nothing_of_an_alignment_of_another_process(
    two: Two, postgres: PostgresServer
) -> None:
    user, job = two.user, await two.begun_there()
    cut_all(postgres)
    await two.here.erase(user)
    await until(lambda: not two.there.learner.is_here(user, job))
    assert two.here.store.journal.ledger(user_key=user.key) == ()
    assert [two.here.store.journal.calls(run.run_id) for run in two.here.store.journal.runs()] == [(), ()]


async def test_an_alignment_whose_user_was_erased_without_a_word_ends_and_records_nothing(two: Two) -> None:
    user, job = two.user, await two.begun_there()
    await asyncio.to_thread(two.here.store.people.erase, "maya")
    await until(lambda: not two.there.learner.is_here(user, job))
    assert [two.here.store.journal.calls(run.run_id) for run in two.here.store.journal.runs()] == [(), ()]


async def test_a_store_that_is_away_when_an_alignment_ends_is_told_when_it_is_back(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_ended, refusals = two.there.learner._put_ended, iter(range(2))

    def away(user: User, ended: Job) -> Job:
        if next(refusals, None) is not None:
            raise StorageError("made-up: away")
        return put_ended(user, ended)

    monkeypatch.setattr(two.there.learner, "_put_ended", away)
    monkeypatch.setattr("personaagent.serving.learning._STORE_RETRY_SECONDS", 0.01)
    job = two.there.learner._new_job(asking(two.there), "asked", n=3, iterations=1)
    ended = job.model_copy(update={"state": "finished"})
    assert await two.there.learner._put_ended_when_possible(two.user, ended) == ended
    assert two.user.jobs.get(job.job_id).state == "finished"
