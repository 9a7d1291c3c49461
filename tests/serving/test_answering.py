"""Fairness: so much at once for each key, those who wait are served in turns, and nothing is done for who is gone."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest

from personaagent.data.errors import LimitError, QuotaError, UnknownUserError
from personaagent.data.interaction import Interaction
from personaagent.data.store import User
from personaagent.data.task import OPEN
from personaagent.journal import AGENT, new_run, open_run
from personaagent.programs import AgentSettings
from personaagent.serving import answering
from personaagent.serving.answering import Caller, FairSemaphore, Question
from personaagent.serving.configuration import Serving
from personaagent.serving.deployment import Deployment
from personaagent.serving.learning import MOST_OPEN
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

from .conftest import ANSWERS, QUICK, eraser
from .waiting import wait_until


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_so_many_have_a_turn_at_once_and_so_many_of_one_key() -> None:
    semaphore, running = FairSemaphore(3), list[str]()

    async def work(key: str, end: asyncio.Event) -> None:
        async with semaphore.slot(key, most=2):
            running.append(key)
            await end.wait()

    end = asyncio.Event()
    tasks = [asyncio.create_task(work(key, end)) for key in "aaabbb"]
    await settled()
    assert running == ["a", "a", "b"]
    assert (semaphore.waiting("a"), semaphore.waiting("b"), semaphore.waiting("c")) == (1, 2, 0)
    end.set()
    await asyncio.gather(*tasks)
    assert sorted(running) == ["a", "a", "a", "b", "b", "b"]


async def test_who_waits_is_served_key_by_key_however_many_one_key_has_waiting() -> None:
    semaphore, order = FairSemaphore(1), list[str]()

    async def work(name: str) -> None:
        async with semaphore.slot(name[0], most=1):
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(name) for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2")))
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


async def test_who_goes_away_while_waiting_leaves_the_line_and_takes_no_turn() -> None:
    semaphore = FairSemaphore(1)
    release = await semaphore.acquire("a", 1)
    waiting = [asyncio.create_task(semaphore.acquire(key, 1)) for key in "abc"]
    await settled()
    waiting[0].cancel()
    waiting[1].cancel()
    release()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, True, False]
    waiting[2].result()()
    await asyncio.wait_for(semaphore.acquire("a", 1), 5)


async def test_a_turn_that_comes_at_the_moment_of_going_away_is_given_on() -> None:
    semaphore = FairSemaphore(1)
    release = await semaphore.acquire("a", 1)
    first, second = (asyncio.create_task(semaphore.acquire(key, 1)) for key in "bc")
    await settled()
    release()
    first.cancel()
    await asyncio.wait_for(second, 5)
    with pytest.raises(asyncio.CancelledError):
        await first


class Held:
    """An LM that keeps every caller until it is let go."""

    def __init__(self) -> None:
        self.go_on, self.asked = threading.Event(), threading.Semaphore(0)
        self.lm = ScriptedLM(self._answer)

    def _answer(self, request: ScriptedRequest) -> Any:
        self.asked.release()
        assert self.go_on.wait(30)
        return {name: ANSWERS[name] for name in request.outputs_wanted}

    async def until_asked(self, times: int) -> None:
        for _ in range(times):
            assert await asyncio.to_thread(self.asked.acquire, timeout=30)


class Up(NamedTuple):
    """A deployment, and the LM behind it."""

    deployment: Deployment
    held: Held

    def caller(self, user: str) -> Caller:
        store = self.deployment.store
        return Caller(store.keys.create("user", user_id=user)[0], store.user(user))

    def ask(self, caller: Caller, query: str = "A film?") -> "asyncio.Task[Any]":
        return asyncio.create_task(self.deployment.answer(caller, Question(query, OPEN)))


@contextmanager
def deployed(how: Serving = QUICK) -> Iterator[Up]:
    held = Held()
    with in_memory_store() as store, open_run(store.journal, new_run("serve"), {AGENT: held.lm}) as run:
        up = Up(Deployment(store, run, how, erase=eraser(store)), held)
        try:
            yield up
        finally:
            held.go_on.set()


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    """A deployment that gives two answers at once, one for each user's key, and lets two wait."""
    monkeypatch.setattr(answering, "_AT_ONCE", 2)
    monkeypatch.setattr(answering, "_AT_ONCE_OF_KEY", {"user": 1, "tenant": 2, "admin": 2})
    monkeypatch.setattr(answering, "_WAITING_PER_SLOT", 2)
    with deployed() as up:
        yield up


async def test_one_key_s_many_questions_leave_room_for_another_key(up: Up) -> None:
    maya, omar = up.caller("maya"), up.caller("omar")
    many = [up.ask(maya) for _ in range(3)]
    await up.held.until_asked(1)
    one = up.ask(omar)
    await up.held.until_asked(1)
    assert len(up.held.lm.requests) == 2, "one of each"
    up.held.go_on.set()
    await asyncio.gather(*many, one)


async def test_more_than_may_wait_are_refused(up: Up) -> None:
    maya = up.caller("maya")
    taken = [up.ask(maya) for _ in range(3)]
    await up.held.until_asked(1)
    with pytest.raises(LimitError, match="try again later"):
        await up.ask(maya)
    up.held.go_on.set()
    await asyncio.gather(*taken)


async def test_a_question_whose_client_is_gone_while_it_waits_is_never_asked(up: Up) -> None:
    maya = up.caller("maya")
    first, *gone = [up.ask(maya, query) for query in ("a film?", "gone 1", "gone 2")]
    await up.held.until_asked(1)
    for task in gone:
        task.cancel()
    await asyncio.wait(gone)
    up.held.go_on.set()
    await first
    await up.deployment.drain()
    assert len(up.held.lm.requests) == 1
    assert [interaction.query for interaction in maya.user.interactions.all()] == ["a film?"]


async def test_an_answer_whose_client_is_gone_makes_no_further_call_and_keeps_its_turn_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "_AT_ONCE_OF_KEY", {"user": 1})
    paper = Serving(align_every=0, agent=AgentSettings(preset="paper", action=False, memory=True))
    with deployed(paper) as up:
        maya = up.caller("maya")
        maya.user.interactions.add([Interaction(interaction_id="1", query="A film?", ground_truth="noir")])
        abandoned = up.ask(maya, "abandoned")
        await up.held.until_asked(1)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        next_one = up.ask(maya, "next")
        await settled()
        assert len(up.held.lm.requests) == 1, "the next waits"
        up.held.go_on.set()
        await next_one
        asked = [request.text for request in up.held.lm.requests]
        assert sum("abandoned" in text for text in asked) == 1
        assert "abandoned" not in {interaction.query for interaction in maya.user.interactions.all()}


async def test_a_question_that_waits_while_its_user_is_erased_is_not_asked(up: Up) -> None:
    maya = up.caller("maya")
    first, waiting = up.ask(maya), up.ask(maya)
    await up.held.until_asked(1)
    erasing = asyncio.create_task(up.deployment.erase(maya.user))
    await settled()
    up.held.go_on.set()
    await erasing
    await first
    with suppress(UnknownUserError):
        await waiting
    assert len(up.held.lm.requests) <= 2
    assert up.deployment.store.journal.ledger(user_key=maya.user.key) == ()


def with_truths(user: User) -> User:
    user.interactions.add(
        [Interaction(interaction_id=name, query=f"film {name}?", ground_truth="noir") for name in "123"]
    )
    return user


async def test_a_user_s_many_alignments_do_not_hold_up_another_user_s() -> None:
    with deployed() as up:
        maya, omar = up.caller("maya"), up.caller("omar")
        for caller in (maya, omar):
            with_truths(caller.user)
        begun = [await up.deployment.learner.begin(maya, "asked") for _ in range(MOST_OPEN)]
        await up.held.until_asked(1)
        other = await up.deployment.learner.begin(omar, "asked")
        up.held.go_on.set()
        await asyncio.to_thread(wait_until, lambda: omar.user.jobs.get(other.job_id).is_over)
        ended = [maya.user.jobs.get(job.job_id).is_over for job in begun]
        assert ended.count(True) <= 2, "one after the other, in turns with the other user's"
        await up.deployment.drain()


async def test_only_so_many_alignments_of_a_user_wait_even_if_all_are_asked_for_at_once() -> None:
    with deployed() as up:
        maya = up.caller("maya")
        with_truths(maya.user)
        asked = [up.deployment.learner.begin(maya, "asked") for _ in range(3 * MOST_OPEN)]
        begun = await asyncio.gather(*asked, return_exceptions=True)
        refused = [each for each in begun if isinstance(each, LimitError)]
        assert len(refused) == 2 * MOST_OPEN
        assert len(maya.user.jobs.all()) == MOST_OPEN
        up.held.go_on.set()
        await up.deployment.drain()


async def test_ground_truths_that_come_at_once_begin_one_alignment(monkeypatch: pytest.MonkeyPatch) -> None:
    with deployed(QUICK.model_copy(update={"align_every": 3})) as up:
        maya = up.caller("maya")
        monkeypatch.setattr(up.deployment.limiter, "check", lambda _key: time.sleep(0.1))  # As a slow store does.
        with_truths(maya.user)
        await asyncio.gather(*[up.deployment.learner.begin_if_due(maya) for _ in range(4)])
        assert len(maya.user.jobs.all()) == 1
        up.held.go_on.set()
        await up.deployment.drain()


async def test_a_user_who_has_stored_as_much_as_may_be_is_told_before_anything_is_paid() -> None:
    with deployed(QUICK.model_copy(update={"user_bytes": 2_000})) as up:
        maya = up.caller("maya")
        up.held.go_on.set()
        for number in range(3):
            with suppress(QuotaError):
                maya.user.interactions.add([Interaction(interaction_id=str(number), query="q" * 1_500)])
        assert len(maya.user.interactions) == 2
        with pytest.raises(QuotaError, match="2,000 may be"):
            await up.ask(maya)
        assert up.held.lm.requests == ()


def test_a_quota_holds_for_those_who_write_at_once() -> None:
    with in_memory_store() as store, ThreadPoolExecutor(8) as threads:
        store.most_bytes_of_user = 5_000
        log = store.add_user("maya").interactions

        def write(number: int) -> None:
            with suppress(QuotaError):
                log.add([Interaction(interaction_id=str(number), query="q" * 1_000)])

        list(threads.map(write, range(20)))
        assert len(log) == 5
