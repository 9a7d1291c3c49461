import asyncio
import random
from pathlib import Path

import dspy
import pytest

from personaagent.data.call import Cost
from personaagent.data.errors import BudgetError, InputError, LMError
from personaagent.data.store import Store
from personaagent.journal import AGENT, LOSS, new_run, open_run
from personaagent.journal.budget import Budget
from personaagent.journal.tools import recorded_tool
from personaagent.portable import export_run, import_run
from personaagent.programs.scope import measure, within
from personaagent.programs.tools.toolbox import Toolbox
from personaagent.testing import RefusingLM, ScriptedLM

from .conftest import Ask


def echo() -> ScriptedLM:
    return ScriptedLM(lambda request: {"response": f"about {request.input('query')}"})


def test_what_is_recorded_is_not_asked_again(store: Store) -> None:
    for lm in (echo(), RefusingLM()):
        lm.model = "made-up/one"
        with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}) as run:
            assert Ask()(query="rain").response == "about rain"
    assert run.repeated == 1
    assert run.spent.calls == 1


async def test_the_same_question_twice_is_two_calls_and_both_come_again(store: Store) -> None:
    numbers = iter("12")
    lm = ScriptedLM(lambda _: {"response": next(numbers)})
    for asked in (2, 0):
        with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}):
            assert [(await Ask().acall(query="rain")).response for _ in range(2)] == ["1", "2"]
        assert len(lm.requests) == 2, asked


async def test_places_keep_the_same_question_apart_in_whatever_order_it_is_asked(store: Store) -> None:
    async def ask(place: str) -> str:
        with within(place):
            await asyncio.sleep(random.random() / 100)
            return (await Ask().acall(query="rain")).response

    count = iter(range(100))
    lm = ScriptedLM(lambda _: {"response": f"answer {next(count)}"})
    places = [f"question {number}" for number in range(8)]
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}):
        first = dict(zip(places, await asyncio.gather(*map(ask, places)), strict=True))
    random.shuffle(places)
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}):
        again = dict(zip(places, await asyncio.gather(*map(ask, places)), strict=True))
    assert again == first
    assert len(lm.requests) == 8


def test_roles_users_and_runs_share_no_answer(store: Store) -> None:
    lm = ScriptedLM(lambda _: {"response": str(len(lm.requests))})
    answers: list[str] = []
    for run_id in ("r1", "r2"):
        with open_run(store.journal, new_run("test", run_id=run_id), {AGENT: lm}) as run:
            for user in ("maya", "omar"):
                with within(user_key=user):
                    answers.append(Ask()(query="rain").response)
                    with dspy.context(lm=run.lm(LOSS)):
                        answers.append(Ask()(query="rain").response)
    assert len(set(answers)) == 8


def test_every_setting_of_an_lm_reaches_it_and_tells_its_answers_apart(store: Store) -> None:
    for top_p in (0.5, 0.9):
        lm = echo()
        lm.kwargs["top_p"] = top_p
        with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}):
            Ask()(query="rain")
        assert [asked.request.config.top_p for asked in lm.requests] == [top_p]


def test_a_failed_call_is_made_again_and_an_answer_is_kept(store: Store) -> None:
    replies = iter([dspy.lm15.InvalidRequestError("no"), {"response": "yes"}])
    lm = ScriptedLM(lambda _: next(replies))
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}), pytest.raises(LMError, match="no"):
        Ask()(query="rain")
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}):
        assert Ask()(query="rain").response == "yes"
    [line] = store.journal.ledger(run_id="r")
    assert (line.attempts, line.failures) == (2, 1)


def test_a_call_under_way_when_its_process_died_is_counted_at_its_worst(store: Store) -> None:
    class Killed(BaseException):
        pass

    def die(_: object) -> None:
        store.journal.append = lambda entries: None  # type: ignore[method-assign]
        raise Killed

    with pytest.raises(Killed), open_run(store.journal, new_run("test", run_id="r"), {AGENT: ScriptedLM(die)}):
        Ask()(query="rain")
    del store.journal.append
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: ScriptedLM({"response": "yes"})}) as run:
        [call] = store.journal.calls("r")
        assert run.spent == Cost(calls=1, tokens=call.worst.tokens, dollars=0.0)
        Ask()(query="rain")
    assert run.spent.calls == 2


def test_a_run_is_not_taken_up_for_other_work_or_another_lm(store: Store) -> None:
    with open_run(store.journal, new_run("test", {"n": 3}, run_id="r"), {AGENT: echo()}):
        pass
    other = ScriptedLM({"response": "x"}, model="made-up/other")
    for run, lm in ((new_run("test", {"n": 4}, run_id="r"), echo()), (new_run("test", {"n": 3}, run_id="r"), other)):
        with (
            pytest.raises(InputError, match="give this work a run id of its own"),
            open_run(store.journal, run, {AGENT: lm}),
        ):
            pass


def test_how_each_stretch_of_a_run_ended_is_recorded(store: Store) -> None:
    run = new_run("test", run_id="r")
    with pytest.raises(BudgetError), open_run(store.journal, run, {AGENT: echo()}, budget=Budget(max_calls=0)):
        Ask()(query="rain")
    with pytest.raises(ZeroDivisionError), open_run(store.journal, run, {AGENT: echo()}):
        _ = 1 / 0
    with open_run(store.journal, run, {AGENT: echo()}):
        Ask()(query="rain")
    assert [end.status for end in store.journal.ends("r")] == ["stopped", "failed", "finished"]


def test_recorded_answers_keep_the_seconds_and_tokens_that_they_took(store: Store) -> None:
    spends: list[object] = []
    for _ in range(2):
        with open_run(store.journal, new_run("test", run_id="r"), {AGENT: echo()}), measure() as meter:
            Ask()(query="rain")
        spends.append((meter.spend.calls, meter.spend.prompt_tokens, meter.spend.completion_tokens))
        assert meter.spend.seconds > 0
    assert spends[0] == spends[1]


def test_a_tool_of_the_outer_world_is_asked_once_and_fails_once(store: Store) -> None:
    asked: list[str] = []

    def look_up(search: str) -> str:
        """Look something up."""
        asked.append(search)
        return f"found {search} {len(asked)}"

    for _ in range(2):
        with open_run(store.journal, new_run("test", run_id="r"), {AGENT: echo()}):
            action = Toolbox([recorded_tool(dspy.Tool(look_up))])("look_up", "rain")
        assert "found rain 1" in action.observation
    assert asked == ["rain"]


def test_a_run_travels_as_one_file(store: Store, tmp_path: Path) -> None:
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: echo()}):
        Ask()(query="rain")
    assert export_run(store.journal, "r", tmp_path / "run.jsonl") == 1
    with Store.open("sqlite://") as elsewhere:
        import_run(elsewhere.journal, tmp_path / "run.jsonl")
        with pytest.raises(InputError, match="recorded already"):
            import_run(elsewhere.journal, tmp_path / "run.jsonl")
        assert elsewhere.journal.calls("r") == store.journal.calls("r")
        assert elsewhere.journal.ledger() == store.journal.ledger()
        run = elsewhere.journal.run("r")
        with open_run(elsewhere.journal, run, {}, replay=True):
            assert Ask()(query="rain").response == "about rain"


@pytest.mark.parametrize(
    ("line", "problem"),
    [("not json", "line 2"), ('{"kind": "guess"}', "line 2"), ('{"kind": "call", "run_id": "r"}', "line 2")],
)
def test_a_file_that_is_no_run_is_refused_whole(store: Store, tmp_path: Path, line: str, problem: str) -> None:
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: echo()}):
        Ask()(query="rain")
    path = tmp_path / "run.jsonl"
    export_run(store.journal, "r", path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[1:]]))
    with Store.open("sqlite://") as elsewhere:
        with pytest.raises(InputError, match=problem):
            import_run(elsewhere.journal, path)
        assert elsewhere.journal.runs() == ()
