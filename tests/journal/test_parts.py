"""Several processes at one run: each takes up its own part, and leaves what the others have under way alone."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personaagent.data.call import NOTHING, Call, Part
from personaagent.data.errors import SetupError
from personaagent.data.store import Store
from personaagent.journal import AGENT, join_run, new_run, open_run
from personaagent.journal.recorder import LOST, Callee, Recorder
from personaagent.lms import open_lm
from personaagent.programs.scope import within
from personaagent.testing import ScriptedLM

from ..postgres import PostgresServer
from .conftest import Ask

MAYA = Part(user_key="maya", place="LaMP-2M/rag")
LM = Callee("agent", "made-up", "made-up/one")
A_WHILE = 0.3


@pytest.fixture
def shared(postgres: PostgresServer) -> Iterator[Store]:
    with Store.open(postgres.new_url()) as store:
        yield store


def begin(recorder: Recorder, part: Part, question: str) -> Call:
    """Write down a call in a part of the run, as if its process were then killed."""
    with within(*part.place.split("/"), "preparation", user_key=part.user_key):
        call = recorder.open(LM, json.dumps(question), NOTHING)
        call.begin()
    [begun] = [each for each in recorder.journal.lost("r") if each.request == json.dumps(question)]
    return begun


@given(
    place=st.lists(st.sampled_from(["LaMP-2M", "rag", "rag:k=8", "preparation"]), min_size=1, max_size=3),
    deeper=st.lists(st.sampled_from(["question 1", "rag", "x"]), max_size=2),
    user_key=st.sampled_from(["maya", "omar"]),
)
def test_a_part_holds_what_its_user_does_in_its_place(place: list[str], deeper: list[str], user_key: str) -> None:
    part = Part(user_key="maya", place="/".join(place))
    call = Call.model_construct(user_key=user_key, place="/".join([*place, *deeper]))
    assert part.holds(call) is (user_key == "maya")
    assert not part.holds(call.model_copy(update={"place": f"{part.place}:k=8"}))
    assert not part.holds(call.model_copy(update={"place": "elsewhere"}))


def test_who_takes_up_a_part_marks_its_own_calls_as_lost_and_nobody_elses(store: Store) -> None:
    store.journal.begin(new_run("test", run_id="r"))
    dead = Recorder(store.journal, "r")
    places = [MAYA, MAYA.model_copy(update={"place": "LaMP-2M/rag:k=8"}), MAYA.model_copy(update={"user_key": "omar"})]
    mine, *others = (begin(dead, part, f"question {number}") for number, part in enumerate(places))
    dead.close()

    taken_up = Recorder(store.journal, "r", part=MAYA)
    taken_up.close()
    assert {call.key for call in store.journal.lost("r")} == {call.key for call in others}
    failure = [attempt.failure for attempt in store.journal.all_attempts("r")]
    assert [each and each.kind for each in failure] == [LOST]
    last = store.journal.last_attempt("r", mine.key)
    assert last is not None and last.response is None

    Recorder(store.journal, "r").close()
    assert store.journal.lost("r") == ()


def test_the_journal_tells_the_calls_of_one_user(store: Store) -> None:
    store.journal.begin(new_run("test", run_id="r"))
    recorder = Recorder(store.journal, "r")
    maya, omar = (begin(recorder, Part(user_key=each, place="x"), each) for each in ("maya", "omar"))
    recorder.close()
    assert store.journal.lost("r", user_key="maya") == (maya,)
    assert store.journal.attempts("r", user_key="omar") == {omar.key: (1, False)}
    assert set(store.journal.attempts("r")) == {maya.key, omar.key}


def test_what_one_process_paid_for_in_a_part_another_finds(shared: Store) -> None:
    asked: list[str] = []

    def answer(request: object) -> dict[str, str]:
        asked.append(str(request))
        return {"response": "made up"}

    opener = {AGENT: ScriptedLM(answer)}
    with open_run(shared.journal, new_run("test", run_id="r"), opener) as run:
        for _ in range(2):
            with (
                within("LaMP-2M", "rag", user_key="maya"),
                join_run(shared.journal, run.run, {AGENT: ScriptedLM(answer)}, MAYA) as part,
            ):
                assert Ask()(query="rain").response == "made up"
                assert part.run == run.run
    assert len(asked) == 1
    assert [end.status for end in shared.journal.ends("r")] == ["finished"], "who joins does not end the run"


def test_a_part_is_done_by_one_process_at_a_time_and_others_are_not_waited_for(shared: Store) -> None:
    begun = Event()

    def second() -> None:
        with shared.journal.alone("r", MAYA):
            begun.set()

    with ThreadPoolExecutor() as pool:
        with shared.journal.alone("r", MAYA):
            waiting = pool.submit(second)
            omar = MAYA.model_copy(update={"user_key": "omar"})
            with shared.journal.alone("r", omar), shared.journal.alone("q", MAYA):
                assert not begun.wait(A_WHILE)
        waiting.result()
    assert begun.is_set()


def test_who_joins_waits_until_nobody_else_does_the_part(shared: Store) -> None:
    joined = Event()

    def join() -> None:
        with join_run(shared.journal, run.run, {AGENT: ScriptedLM({})}, MAYA):
            joined.set()

    with (
        ThreadPoolExecutor() as pool,
        open_run(shared.journal, new_run("test", run_id="r"), {AGENT: ScriptedLM({})}) as run,
    ):
        with shared.journal.alone("r", MAYA):
            waiting = pool.submit(join)
            assert not joined.wait(A_WHILE)
        waiting.result()
    assert joined.is_set()


def test_a_part_is_free_when_its_process_failed(shared: Store) -> None:
    with pytest.raises(ZeroDivisionError), shared.journal.alone("r", MAYA):
        _ = 1 / 0
    with shared.journal.alone("r", MAYA):
        pass


def test_machines_cannot_share_a_file(store: Store) -> None:
    with pytest.raises(SetupError, match="set PERSONAAGENT_DATABASE to postgresql://"), store.journal.alone("r", MAYA):
        pass


def test_a_run_that_is_not_recorded_here_cannot_be_joined(shared: Store) -> None:
    with (
        pytest.raises(SetupError, match="run 'r' is not recorded here: set PERSONAAGENT_DATABASE as where it began"),
        join_run(shared.journal, new_run("test", run_id="r"), {AGENT: ScriptedLM({})}, MAYA),
    ):
        pass


def test_who_joins_with_another_key_would_pay_again_and_is_refused(
    shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lm() -> dict[str, dspy.LM]:
        return {AGENT: open_lm("openai/made-up", api_base="http://127.0.0.1:1/v1")}

    monkeypatch.setenv("OPENAI_API_KEY", "made-up-key")
    with open_run(shared.journal, new_run("test", run_id="r"), lm()) as run:
        monkeypatch.setenv("OPENAI_API_KEY", "another-key")
        with (
            pytest.raises(SetupError, match=r"made-up \(agent\) is not the LM of run 'r', or not on its") as refused,
            join_run(shared.journal, run.run, lm(), MAYA),
        ):
            pass
    assert "another-key" not in str(refused.value)
