import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaagent.data.call import Cost
from personaagent.data.errors import BudgetError, InputError
from personaagent.data.store import Store
from personaagent.journal import AGENT, new_run, open_run
from personaagent.journal.budget import Budget, Purse, deadline, price_of
from personaagent.testing import ScriptedLM

from .conftest import Ask

CALLERS = 16


def a_random_budget(chance: random.Random) -> Budget:
    caps = {
        "max_calls": chance.randint(0, 60),
        "max_tokens": chance.randint(0, 20_000),
        "max_usd": chance.uniform(0, 0.05),
    }
    return Budget.model_validate({name: cap for name, cap in caps.items() if chance.random() < 0.6})


def is_within(spent: Cost, budget: Budget) -> bool:
    return (
        (budget.max_calls is None or spent.calls <= budget.max_calls)
        and (budget.max_tokens is None or spent.tokens <= budget.max_tokens)
        and (budget.max_usd is None or (spent.dollars or 0.0) <= budget.max_usd + 1e-12)
    )


def spend_all(purse: Purse, seed: int) -> None:
    """Make calls of which each costs at most its worst case until one is refused, or 20 are made."""
    chance = random.Random(seed)
    for _ in range(20):
        worst = Cost(tokens=chance.randint(1, 2000), dollars=chance.uniform(0, 0.005))
        try:
            purse.reserve(worst)
        except BudgetError:
            return
        share = chance.random()
        purse.settle(worst, Cost(tokens=int(worst.tokens * share), dollars=(worst.dollars or 0.0) * share))


def test_100_random_caps_are_never_passed_by_16_callers_at_once() -> None:
    refuse_overspending(caps=100)


@pytest.mark.soak
def test_1000_random_caps_are_never_passed_by_16_callers_at_once() -> None:
    refuse_overspending(caps=1000)


def refuse_overspending(caps: int) -> None:
    with ThreadPoolExecutor(CALLERS) as pool:
        for seed in range(caps):
            budget = a_random_budget(random.Random(seed))
            purse = Purse(budget)
            list(pool.map(spend_all, [purse] * CALLERS, range(seed * CALLERS, (seed + 1) * CALLERS)))
            assert is_within(purse.spent, budget), (seed, purse.spent, budget)


@pytest.mark.parametrize("caps", [10, pytest.param(1000, marks=pytest.mark.soak)])
async def test_no_cap_is_passed_by_real_calls_and_the_lm_is_never_asked_beyond_it(store: Store, caps: int) -> None:
    for seed in range(caps):
        chance = random.Random(seed)
        budget = Budget(max_calls=chance.randint(0, 24), max_tokens=chance.randint(0, 40_000))
        lm = ScriptedLM(lambda request: {"response": request.input("query")})
        with open_run(store.journal, new_run("test", run_id=f"r{seed}"), {AGENT: lm}, budget=budget) as run:
            answers = [Ask().acall(query=f"question {number}") for number in range(CALLERS * 2)]
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {dspy.Prediction, BudgetError}
        assert is_within(run.spent, budget)
        assert len(lm.requests) == run.spent.calls == sum(isinstance(each, dspy.Prediction) for each in outcomes)


@pytest.mark.parametrize("dollars", [0.0, None])
def test_a_call_that_only_waits_for_others_is_made_when_they_turn_out_cheaper(dollars: float | None) -> None:
    purse = Purse(Budget(max_tokens=1000))
    worst = Cost(tokens=900, dollars=dollars)
    purse.reserve(worst)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(purse.reserve, worst)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.1)
        purse.settle(worst, Cost(tokens=100))
        waiting.result(timeout=1)


def test_the_first_refusal_closes_the_purse() -> None:
    purse = Purse(Budget(max_tokens=1000))
    with pytest.raises(BudgetError, match="more tokens than are left"):
        purse.reserve(Cost(tokens=1001))
    with pytest.raises(BudgetError):
        purse.reserve(Cost(tokens=1))


def test_no_call_is_begun_after_the_deadline() -> None:
    purse = Purse(Budget(deadline=datetime.now(UTC) - timedelta(seconds=1)))
    with pytest.raises(BudgetError, match="deadline"):
        purse.reserve(Cost(tokens=1))


def test_a_cap_in_dollars_refuses_an_lm_whose_price_nobody_knows() -> None:
    with pytest.raises(BudgetError, match="PERSONAAGENT_PRICE"):
        Purse(Budget(max_usd=10)).reserve(Cost(tokens=1, dollars=None))


def test_a_price_is_known_from_the_table_or_the_setting() -> None:
    listed = price_of(dspy.LM("openai/gpt-4.1-mini", cache=False))
    assert listed is not None
    assert listed.of(1_000_000, 0) == pytest.approx(0.4)
    unheard_of = dspy.LM("openai/made-up", cache=False)
    assert price_of(unheard_of) is None
    assert (price_of(unheard_of, "2.5,10") or listed).of(1_000_000, 1_000_000) == pytest.approx(12.5)
    with pytest.raises(InputError, match=r"like 2\.5,10"):
        price_of(unheard_of, "cheap")


def test_what_was_spent_before_counts() -> None:
    purse = Purse(Budget(max_calls=3), spent=Cost(calls=3))
    with pytest.raises(BudgetError):
        purse.reserve(Cost())


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1)), max_size=30), st.integers(0, 2000))
def test_reservations_come_back_whole(calls: list[tuple[int, float]], cap: int) -> None:
    purse = Purse(Budget(max_tokens=cap))
    spent = 0
    for tokens, share in calls:
        worst = Cost(tokens=tokens)
        try:
            purse.reserve(worst)
        except BudgetError:
            assert spent + tokens > cap
            return
        spent += int(tokens * share)
        purse.settle(worst, Cost(tokens=int(tokens * share)))
        assert purse.spent.tokens == spent <= cap


@pytest.mark.parametrize("written", ["90s", "15m", "2h"])
def test_a_deadline_may_be_so_long_from_now(written: str) -> None:
    seconds = {"90s": 90, "15m": 900, "2h": 7200}[written]
    assert abs((deadline(written) - datetime.now(UTC)).total_seconds() - seconds) < 5


def test_a_deadline_may_be_a_time_and_nothing_else() -> None:
    assert deadline("2030-01-31T18:00+00:00") == datetime(2030, 1, 31, 18, tzinfo=UTC)
    with pytest.raises(InputError, match="write 90s"):
        deadline("soon")
