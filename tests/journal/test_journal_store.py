"""The journal in its store, on both databases: what was appended is there once and whole, whoever appends beside it."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from personaagent.data.call import Attempt, Call, Cost, Failure, LedgerLine, Run, RunEnd
from personaagent.data.errors import InputError, StorageError, UnknownNameError
from personaagent.data.store import Store, tables
from personaagent.data.store.database import Database
from personaagent.data.store.journal import Journal

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
ODD = "NUL \0, half a pair \ud800, a whole one 🙂, e\u0301, a quote ' and a backslash \\u0000"


@pytest.fixture
def journal(new_url: Callable[[], str]) -> Iterator[Journal]:
    with Store.open(new_url()) as store:
        store.journal.begin(run("r"))
        yield store.journal


def run(run_id: str, **changes: object) -> Run:
    return Run.model_validate({"run_id": run_id, "command": "align", "started_at": NOON} | changes)


def end(status: str, result: str | None = None) -> RunEnd:
    return RunEnd.model_validate({"status": status, "result": result, "at": NOON})


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def call(number: int, /, **changes: object) -> Call:
    fields: dict[str, object] = {
        "run_id": "r",
        "key": key_of(number),
        "user_key": "u",
        "role": "agent",
        "place": "iteration 1",
        "endpoint": "made-up",
        "model": "made-up/one",
        "ordinal": 1,
        "request": json.dumps({"prompt": f"question {number}"}),
        "worst": Cost(tokens=100, dollars=0.5),
        "at": NOON + timedelta(seconds=number),
    }
    return Call.model_validate(fields | changes)


def again(number: int) -> Call:
    return call(number, number=2, at=NOON + timedelta(hours=1, seconds=number))


def attempt(number: int, attempt_number: int = 1, **changes: object) -> Attempt:
    fields: dict[str, object] = {
        "run_id": "r",
        "key": key_of(number),
        "number": attempt_number,
        "response": json.dumps({"answer": number}),
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "charged": Cost(tokens=9, dollars=0.25),
        "seconds": 0.5,
        "at": NOON + timedelta(seconds=number),
    }
    return Attempt.model_validate(fields | changes)


def failed(number: int, attempt_number: int = 1, message: str = "busy") -> Attempt:
    return attempt(number, attempt_number, response=None, failure=Failure(kind="LMRateLimitError", message=message))


def held(journal: Journal) -> tuple[object, ...]:
    """Return everything that a journal holds."""
    runs = journal.runs()
    of_each = [
        (journal.ends(run.run_id), journal.calls(run.run_id), [*journal.all_attempts(run.run_id)]) for run in runs
    ]
    return runs, of_each, journal.ledger()


def test_runs_are_kept_in_the_order_in_which_they_began(journal: Journal) -> None:
    for run_id in ("z", "a"):
        journal.begin(run(run_id, arguments={"n": [1, None, "\0"]}))
    assert [each.run_id for each in journal.runs()] == ["r", "z", "a"]
    assert journal.run("a") == run("a", arguments={"n": [1, None, "\0"]})


def test_only_what_was_answered_waits_for_the_disk(tmp_path: Path) -> None:
    waits: list[int] = []

    def look(connection: sqlite3.Connection, *_: object) -> None:
        waits.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    with Store.open(tmp_path / "store.db") as store:
        store.journal.begin(run("r"))
        event.listen(Engine, "checkout", look)
        try:
            for entries in ([call(1)], [call(2), call(3)], [attempt(1)], [call(4), attempt(2)]):
                store.journal.append(entries)
        finally:
            event.remove(Engine, "checkout", look)
    normal, full = 1, 2
    assert waits == [normal, normal, full, full]


def test_a_run_begins_once(journal: Journal) -> None:
    for again in (lambda: journal.begin(run("r")), lambda: journal.add_run(run("r"), [], [call(1)])):
        with pytest.raises(InputError, match="run 'r' is recorded already"):
            again()
    assert journal.runs() == (run("r"),)
    assert journal.calls("r") == ()


@pytest.mark.parametrize("run_id", ["", " ", "a\0b", "a\nb", "\udcff", "x" * 257])
def test_a_run_id_that_is_no_name_is_refused(journal: Journal, run_id: str) -> None:
    with pytest.raises(InputError, match="run id"):
        journal.begin(run(run_id))
    with pytest.raises(InputError, match="run id"):
        journal.add_run(run(run_id), [], [])
    with pytest.raises(InputError, match="run id"):
        journal.run(run_id)
    assert journal.runs() == (run("r"),)


def test_an_unknown_run_names_those_that_are_there(journal: Journal) -> None:
    with pytest.raises(UnknownNameError, match="unknown run 'R': use one of r"):
        journal.run("R")
    assert journal.ends("R") == journal.calls("R") == ()
    assert journal.attempts("R") == {}
    assert journal.last_attempt("R", key_of(1)) is None


def test_the_ends_of_a_run_are_kept_and_its_result_is_the_last_that_there_is(journal: Journal) -> None:
    assert journal.result("r") is None
    ends = (end("stopped"), end("finished", "first"), end("finished", "second"), end("failed"))
    for each in ends:
        journal.end("r", each)
    assert journal.ends("r") == ends
    assert journal.result("r") == "second"


def test_a_run_that_never_began_has_no_end(journal: Journal) -> None:
    with pytest.raises(StorageError):
        journal.end("never", end("finished"))


def test_attempts_are_counted_and_the_last_one_is_found(journal: Journal) -> None:
    journal.append([call(1), call(2), call(3), again(1), again(2)])
    journal.append([failed(1), attempt(1, 2), failed(2), failed(2, 2)])
    assert journal.attempts("r") == {key_of(1): (2, True), key_of(2): (2, False), key_of(3): (1, False)}
    assert journal.lost("r") == (call(3),)
    assert journal.last_attempt("r", key_of(1)) == attempt(1, 2)
    assert journal.last_attempt("r", key_of(2)) == failed(2, 2)
    assert journal.last_attempt("r", key_of(3)) is None
    assert {(each.key, each.number) for each in journal.all_attempts("r")} == {
        (key_of(number), attempt_number) for number in (1, 2) for attempt_number in (1, 2)
    }


def test_what_is_there_already_stays_as_it_was(journal: Journal) -> None:
    journal.append([call(1), attempt(1)])
    before = held(journal)
    journal.append([call(1, place="elsewhere", at=NOON), attempt(1, response="another")])
    journal.append([call(1), call(1), attempt(1), attempt(1)])
    assert held(journal) == before


def test_calls_come_in_the_order_of_their_times(journal: Journal) -> None:
    whole = [call(number) for number in range(3)]
    parts = [call(number + 10, at=NOON + timedelta(seconds=number, microseconds=number + 1)) for number in range(3)]
    journal.append([*reversed(whole), *reversed(parts)])
    assert journal.calls("r") == tuple(each for pair in zip(whole, parts, strict=True) for each in pair)


def test_times_are_written_at_one_width_which_every_collation_orders_alike(url: str) -> None:
    with Store.open(url) as store, closing(Database(url)) as database, database.read() as connection:
        store.journal.begin(run("r"))
        store.journal.append([call(1), call(2, at=NOON + timedelta(microseconds=1))])
        assert {len(at) for at in connection.scalars(select(tables.calls.c.at))} == {32}


def test_prompts_answers_and_failures_come_back_whatever_is_in_them(journal: Journal) -> None:
    printable = ODD.replace("\ud800", "")
    asked = call(1, request=json.dumps({"prompt": ODD}), place=printable)
    ended = [failed(1, message=printable), attempt(1, 2, response=json.dumps(ODD))]
    journal.append([asked, again(1), *ended])
    assert journal.calls("r") == (asked, again(1))
    assert [*journal.all_attempts("r")] == ended
    last = journal.last_attempt("r", key_of(1))
    assert last is not None and last.response is not None
    assert json.loads(last.response) == ODD


@pytest.mark.parametrize(
    "wrong",
    [
        call(2, request="half a pair \ud800"),
        failed(1, 2, message="half a pair \ud800"),
    ],
    ids=["request", "failure"],
)
def test_what_could_not_be_read_back_is_refused_and_nothing_of_the_append_stays(
    journal: Journal, wrong: Call | Attempt
) -> None:
    with pytest.raises(InputError, match="written as JSON"):
        journal.append([call(1), attempt(1), wrong])
    assert journal.calls("r") == ()


def test_an_append_that_fails_leaves_nothing(journal: Journal) -> None:
    before = held(journal)
    with pytest.raises(StorageError, match="nothing of this call was stored"):
        journal.append([call(1), attempt(1), call(2), call(9, run_id="never")])
    assert held(journal) == before


def test_an_attempt_at_a_call_that_was_erased_meanwhile_is_left_out_and_costs_the_others_nothing(
    journal: Journal,
) -> None:
    journal.append([call(1), attempt(9), attempt(1)])
    kept = held(journal)
    journal.append([attempt(9)])
    assert held(journal) == kept
    assert journal.last_attempt("r", attempt(1).key) is not None
    assert journal.last_attempt("r", attempt(9).key) is None


def test_a_whole_run_is_added_or_nothing_of_it(journal: Journal) -> None:
    before = held(journal)
    entries: Sequence[Any] = [each.model_copy(update={"run_id": "other"}) for each in (call(1), attempt(1), attempt(2))]
    ends = [end("stopped"), end("finished", "hash")]
    with pytest.raises(StorageError):
        journal.add_run(run("other"), ends, entries)
    assert held(journal) == before
    journal.add_run(run("other"), ends, entries[:2])
    assert journal.ends("other") == tuple(ends)
    assert (*journal.calls("other"), *journal.all_attempts("other")) == tuple(entries[:2])
    assert journal.calls("r") == ()


def test_the_ledger_adds_up_each_users_calls_by_role_and_model(journal: Journal) -> None:
    journal.begin(run("s"))
    journal.append([call(1), failed(1), again(1), attempt(1, 2)])
    journal.append([call(2, user_key="w"), attempt(2, charged=Cost(dollars=None))])
    journal.append([call(3, role="loss"), attempt(3), call(4), attempt(4), call(5)])
    journal.append([call(6, run_id="s"), attempt(6, run_id="s")])
    assert [line(each) for each in journal.ledger()] == [
        ("r", "u", "agent", 3, 1, 21, 0.75),
        ("r", "w", "agent", 1, 0, 7, None),
        ("r", "u", "loss", 1, 0, 7, 0.25),
        ("s", "u", "agent", 1, 0, 7, 0.25),
    ]
    assert [line(item) for item in journal.ledger(run_id="s")] == [("s", "u", "agent", 1, 0, 7, 0.25)]
    assert [item.user_key for item in journal.ledger(user_key="w")] == ["w"]
    assert journal.ledger(run_id="s", user_key="w") == ()


def line(one: LedgerLine) -> tuple[object, ...]:
    return one.run_id, one.user_key, one.role, one.attempts, one.failures, one.prompt_tokens, one.dollars


def test_threads_that_append_at_once_lose_nothing(journal: Journal) -> None:
    def append(thread: int) -> None:
        for number in range(20):
            journal.append([call(100 * thread + number)])
            journal.append([attempt(100 * thread + number)])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(append, range(8)))
    keys = {key_of(100 * thread + number) for thread in range(8) for number in range(20)}
    assert journal.attempts("r") == dict.fromkeys(keys, (1, True))


def test_threads_that_append_the_same_entries_in_any_order_do_not_wait_for_each_other_for_ever(
    journal: Journal,
) -> None:
    for turn in range(10):
        numbers = range(100 * turn, 100 * turn + 50)
        entries = [*(call(number) for number in numbers), *(attempt(number) for number in numbers)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(journal.append, [entries, entries[::-1]] * 2))
    assert len(journal.attempts("r")) == len([*journal.all_attempts("r")]) == 500
