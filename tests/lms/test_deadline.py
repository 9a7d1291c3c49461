"""A call ends at its deadline, whatever the server still sends."""

import math

import dspy
import pytest

from personaagent.data.errors import LMError
from personaagent.journal import engine
from personaagent.journal.engine import MOST_ATTEMPTS, Retries
from personaagent.lms import open_lm
from personaagent.programs.lm_errors import lm_errors
from personaagent.testing import ScriptedLM

from ..loopback import Loopback, Reply
from .conftest import Ask, Journalled

HEAD = 60
"""Bytes that end within the head of a reply."""
BODY = 200
"""Bytes that end within its body."""


@pytest.fixture(autouse=True)
def _no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LONGEST_WAIT_SECONDS", 0.001)


@pytest.mark.parametrize("drips_after", [HEAD, BODY])
@pytest.mark.parametrize("awaited", [False, True])
async def test_a_server_that_drips_is_hung_up_on_at_the_deadline(
    server: Loopback, journalled: Journalled, drips_after: int, awaited: bool
) -> None:
    server.answering = lambda _: Reply('{"response": "noir"}' + " " * 10_000, drips_after=drips_after)
    lm = open_lm("openai/made-up", api_base=server.url, timeout=0.2)

    async def asked() -> None:
        await dspy.Predict("query -> response").acall(query="one") if awaited else Ask()(query="one")

    with journalled.run(lm), pytest.raises(LMError, match=r"made-up: no whole answer within 0\.2 s"), lm_errors():
        await asked()
    assert server.hung_up.wait(10)
    kinds = {attempt.failure and attempt.failure.kind for attempt in journalled.attempts}
    assert kinds == {"LMTimeoutError"}
    assert len(journalled.attempts) <= MOST_ATTEMPTS
    assert all(attempt.charged.tokens > 512 for attempt in journalled.attempts)


def test_no_attempt_begins_later_than_four_timeouts_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LONGEST_WAIT_SECONDS", math.inf)
    now = [1.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    call, busy = Retries(10), dspy.LMRateLimitError("busy", retry_after=16.0)
    call.begin()
    now[0] += 10
    assert call.wait_after(busy) == 16
    now[0] += 16
    call.begin()
    now[0] += 10
    assert call.wait_after(busy) is None


def test_an_engine_in_this_process_has_no_deadline(journalled: Journalled) -> None:
    assert journalled(ScriptedLM(lambda _: {"response": "yes"}), "one") == ["yes"]
