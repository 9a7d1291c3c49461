"""An LM that fails in every way in which a service can fail: nothing crashes, and nothing is miscounted.

What a request meets is a seeded function of its prompt and of how often the prompt came, so that what a question must
come to is worked out here beside the run.
"""

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest

from personaagent.data.call import Call, Failure
from personaagent.data.errors import LMError
from personaagent.data.lamp import LampData
from personaagent.data.store import Store
from personaagent.evaluation import Evaluation, PromptMethod, evaluate
from personaagent.journal import AGENT, OpenRun, engine, new_run, open_run
from personaagent.journal.engine import MOST_ATTEMPTS
from personaagent.lms import open_lm

from ..evaluation.conftest import TASK, made_up_user
from ..loopback import CUT, HANG, Asked, Loopback, Reply, loopback
from .conftest import Ask

SEED = 32
TIMEOUT_SECONDS = 2.0
USERS = 5


class Fault(NamedTuple):
    """What the server does, and what the journal calls it."""

    reply: Reply
    kind: str | None
    """None for an answer: it is paid for and recorded, though it is not in the form that was asked for."""


FAULTS = {
    "busy": Fault(Reply(status=429), "LMRateLimitError"),
    "busy until": Fault(Reply(status=429, headers={"Retry-After": "0.002"}), "LMRateLimitError"),
    "server error": Fault(Reply(status=500), "LMServerError"),
    "silence": Fault(HANG, "LMTimeoutError"),
    "cut": Fault(CUT, "LMTransportError"),
    "cut in the body": Fault(Reply(bytes_sent=200), "LMTransportError"),
    "half a body": Fault(Reply(body=b'{"choices": [{"index": 0, "mess'), "LMProviderError"),
    "no body": Fault(Reply(body=b""), "LMProviderError"),
    "error in a 200": Fault(Reply(body=b'{"error": {"message": "overloaded", "type": "made_up"}}'), "LMServerError"),
    "refusal": Fault(Reply(status=404), "LMInvalidRequestError"),
    "not JSON": Fault(Reply(content="I would rather not."), None),
    "another schema": Fault(Reply(content='{"tags": ["comedy"]}'), None),
    "not a choice": Fault(Reply(content='{"response": "horror"}'), None),
}
UNREADABLE = [name for name, fault in FAULTS.items() if fault.kind is None]
"""The LM is shown what it answered and asked once more."""
PASSING = [name for name in FAULTS if name not in ("refusal", *UNREADABLE)]
"""The call is made again."""
LASTING = [name for name in (*PASSING, "refusal") if name != "silence"]
"""Some questions meet one of them for ever. (Four timeouts, one after the other, are a test of their own.)"""
UNBILLED = ("LMRateLimitError", "LMInvalidRequestError")


def fault(prompt: str, seen: int) -> str | None:
    """Return what a request meets; None if it is answered.

    Args:
        prompt: What it asks.
        seen: How often this prompt has come, this time included.
    """
    chance = random.Random(f"{SEED} {question_of(prompt)} {asks_again(prompt)}")
    if chance.random() < 0.1:
        return chance.choice(LASTING)
    faults = chance.choices([*PASSING, *UNREADABLE], k=chance.randrange(MOST_ATTEMPTS))
    return faults[seen - 1] if seen <= len(faults) else None


def question_of(prompt: str) -> str:
    """Return the id of the question that a prompt asks."""
    [question] = re.findall(r"Which tag\? (q\d+)", prompt)
    return question


def asks_again(prompt: str) -> bool:
    """Whether a prompt shows the LM an answer of its own that could not be read."""
    return "Answer again" in prompt


class Faulty:
    """Meets requests as `fault` says, each a little later than it came."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Asked) -> Reply:
        with self._lock:
            self.seen[request.text] += 1
            met = fault(request.text, self.seen[request.text])
        reply = FAULTS[met].reply if met else Reply()
        return reply if reply is HANG else replace(reply, seconds=random.random() / 100)


class Expected(NamedTuple):
    """What becomes of a question."""

    status: str
    faults: tuple[str, ...]
    requests: int


def expected(question: str, faulty: Faulty) -> Expected:
    """Return what becomes of a question, whose prompts came: the first, and the one that asks again if any."""
    prompts = [prompt for prompt in faulty.seen if question_of(prompt) == question]
    faults: list[str] = []
    requests = 0
    for prompt in sorted(prompts, key=asks_again):
        for seen in range(1, MOST_ATTEMPTS + 1):
            requests += 1
            met = fault(prompt, seen)
            if met is None:
                return Expected("scored", tuple(faults), requests)
            faults.append(met)
            if met in UNREADABLE:
                break
            if met == "refusal" or seen == MOST_ATTEMPTS:
                return Expected("failed", tuple(faults), requests)
    return Expected("unparsed", tuple(faults), requests)


@pytest.fixture
def _no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LONGEST_WAIT_SECONDS", 0.005)


def made_up_data(questions: int) -> LampData:
    """Return users who ask q0, q1 ... in turn."""
    shares = [{f"q{number}": "comedy" for number in range(user, questions, USERS)} for user in range(USERS)]
    return LampData(TASK, tuple(made_up_user(f"user {user}", share) for user, share in enumerate(shares)))


@contextmanager
def opened(store: Store, server: Loopback, timeout: float = TIMEOUT_SECONDS) -> Generator[OpenRun]:
    lm = open_lm("openai/made-up", api_base=server.url, timeout=timeout)
    with open_run(store.journal, new_run("evaluate", run_id="r"), {AGENT: lm}) as run:
        yield run


@pytest.mark.slow
@pytest.mark.usefixtures("_no_time_is_lost")
@pytest.mark.parametrize(("questions", "concurrency"), [(60, 16), pytest.param(1000, 32, marks=pytest.mark.soak)])
async def test_whatever_an_lm_does_each_question_has_its_row_and_each_request_its_record(
    store: Store, questions: int, concurrency: int
) -> None:
    data, faulty = made_up_data(questions), Faulty()
    with loopback(faulty) as server:
        with opened(store, server) as run:
            evaluation = await evaluate([PromptMethod()], data, concurrency=concurrency)
        outcomes = {question.interaction_id: expected(question.interaction_id, faulty) for question in data.questions}
        met = {name for outcome in outcomes.values() for name in outcome.faults}
        assert met == {*FAULTS}
        every_question_has_one_row(evaluation, data, outcomes)
        every_request_has_one_record(store, server, outcomes)
        the_ledger_counts_what_the_rows_count(store, run, evaluation, requests=len(server.asked))

        failed = [question for question, outcome in outcomes.items() if outcome.status == "failed"]
        server.asked.clear()
        server.answering = lambda _: Reply()
        with opened(store, server):
            again = await evaluate([PromptMethod()], data, concurrency=concurrency)
        assert sorted(question_of(request.text) for request in server.asked) == sorted(failed)
        assert {row.question_id: row.status for row in again.rows} == {
            question: "scored" if question in failed else outcome.status for question, outcome in outcomes.items()
        }


def every_question_has_one_row(evaluation: Evaluation, data: LampData, outcomes: dict[str, Expected]) -> None:
    assert sorted(row.question_id for row in evaluation.rows) == sorted(
        interaction.interaction_id for interaction in data.questions
    )
    statuses = {row.question_id: row.status for row in evaluation.rows}
    assert statuses == {question: outcome.status for question, outcome in outcomes.items()}
    assert {*statuses.values()} == {"scored", "unparsed", "failed"}
    assert {(row.status, row.error) for row in evaluation.rows} == {
        ("scored", None),
        ("unparsed", "AnswerError"),
        ("failed", "LMError"),
    }


def every_request_has_one_record(store: Store, server: Loopback, outcomes: dict[str, Expected]) -> None:
    calls = {call.key: call for call in store.journal.calls("r")}
    attempts = list(store.journal.all_attempts("r"))
    assert {attempt.key for attempt in attempts} == {*calls}
    recorded = Counter(question_asked(calls[attempt.key]) for attempt in attempts)
    assert recorded == Counter(question_of(request.text) for request in server.asked)
    assert recorded == {question: outcome.requests for question, outcome in outcomes.items()}
    failures = [attempt for attempt in attempts if attempt.failure is not None]
    kinds = Counter(FAULTS[name].kind for outcome in outcomes.values() for name in outcome.faults)
    kinds.pop(None)
    assert Counter(kind_of(attempt.failure) for attempt in failures) == kinds
    for attempt in failures:
        assert attempt.response is None
        worst = calls[attempt.key].worst.tokens
        assert attempt.charged.tokens == (0 if kind_of(attempt.failure) in UNBILLED else worst)


def question_asked(call: Call) -> str:
    return call.place.removeprefix("prompt/question ")


def kind_of(failure: Failure | None) -> str:
    assert failure is not None and failure.message
    return failure.kind


def the_ledger_counts_what_the_rows_count(store: Store, run: OpenRun, evaluation: Evaluation, requests: int) -> None:
    ledger = store.journal.ledger(run_id="r")
    assert run.spent.calls == requests == sum(line.attempts for line in ledger)
    assert {line.role for line in ledger} == {AGENT}
    for line in ledger:
        spends = [row.spend for row in evaluation.rows if row.user_key == line.user_key]
        assert line.attempts - line.failures == sum(spend.calls for spend in spends)
        assert line.prompt_tokens == sum(spend.prompt_tokens for spend in spends) > 0
        assert line.completion_tokens == sum(spend.completion_tokens for spend in spends) > 0


@pytest.mark.usefixtures("_no_time_is_lost")
@pytest.mark.parametrize("name", PASSING)
async def test_a_fault_that_passes_costs_attempts_and_not_the_answer(store: Store, name: str) -> None:
    def third_time_lucky(_: Asked) -> Reply:
        return FAULTS[name].reply if len(server.asked) < 3 else Reply()

    with loopback(third_time_lucky) as server, opened(store, server, timeout=0.3):
        assert (await Ask().acall(query="rain")).response == "made-up response"
    attempts = list(store.journal.all_attempts("r"))
    assert [attempt.failure and attempt.failure.kind for attempt in attempts] == [FAULTS[name].kind] * 2 + [None]
    assert [attempt.number for attempt in attempts] == [1, 2, 3]


@pytest.mark.usefixtures("_no_time_is_lost")
@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_lasts_is_an_lm_error_after_the_last_attempt(store: Store, name: str) -> None:
    with loopback(lambda _: FAULTS[name].reply) as server, opened(store, server, timeout=0.3), pytest.raises(LMError):
        Ask()(query="rain")
    kinds = [attempt.failure and attempt.failure.kind for attempt in store.journal.all_attempts("r")]
    assert kinds == [FAULTS[name].kind] * MOST_ATTEMPTS
    assert len(server.asked) == MOST_ATTEMPTS


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_service_that_says_when_is_not_asked_before(store: Store, awaited: bool) -> None:
    times: list[float] = []
    longer_than_otherwise = 1.1

    def busy_once(_: Asked) -> Reply:
        times.append(time.monotonic())
        busy = Reply(status=429, headers={"Retry-After": str(longer_than_otherwise)})
        return busy if len(times) == 1 else Reply()

    with loopback(busy_once) as server, opened(store, server):
        answer = await Ask().acall(query="rain") if awaited else Ask()(query="rain")
    assert answer.response == "made-up response"
    assert times[1] - times[0] >= longer_than_otherwise


@pytest.mark.usefixtures("_no_time_is_lost")
async def test_a_service_that_says_tomorrow_is_asked_after_the_longest_wait(store: Store) -> None:
    def busy_once(_: Asked) -> Reply:
        return Reply(status=429, headers={"Retry-After": "86400"}) if len(server.asked) == 1 else Reply()

    with loopback(busy_once) as server, opened(store, server):
        async with asyncio.timeout(30):
            assert (await Ask().acall(query="rain")).response == "made-up response"
