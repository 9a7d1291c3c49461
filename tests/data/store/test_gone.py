"""Users who are erased while others write for them: whatever overlaps, nothing of them is left."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from threading import Event

import pytest
from sqlalchemy import text

from personaagent.data.call import Attempt, Call, Cost, Run
from personaagent.data.errors import ErasedUserError
from personaagent.data.statement import Statement
from personaagent.data.store import Store, User, user_key
from personaagent.data.store.erasure import erase_rows

from .conftest import NOON, alignment, interaction, persona

MAYA = user_key("maya")
ROUNDS = 10


def call(number: int, key: str = MAYA) -> Call:
    return Call(
        run_id="r",
        key=f"{number}",
        user_key=key,
        role="agent",
        place="here",
        endpoint="e",
        model="m",
        ordinal=1,
        request='{"said": "private words"}',
        worst=Cost(),
        at=NOON,
    )


def attempt(number: int) -> Attempt:
    return Attempt(run_id="r", key=f"{number}", number=1, response="{}", charged=Cost(), seconds=0.0, at=NOON)


@pytest.fixture
def shared(url: str) -> Iterator[Store]:
    with Store.open(url) as store:
        store.journal.begin(Run(run_id="r", command="serve", arguments={}, started_at=datetime.now(UTC)))
        yield store


def test_calls_of_users_who_are_gone_are_left_out_and_those_of_others_are_not(shared: Store) -> None:
    journal, omar = shared.journal.of_stored(), shared.add_user("omar")
    assert journal.append([call(1), call(2, omar.key), call(3, "")]) == {MAYA}
    assert {entry.key for entry in shared.journal.calls("r")} == {"2", "3"}
    assert journal.append([call(2, omar.key)]) == frozenset(), "what is there already is nobody's end"
    assert shared.journal.append([call(4, "f" * 16)]) == frozenset(), "an evaluation's users are not of the store"


def test_calls_of_a_user_who_is_being_erased_are_left_out(shared: Store) -> None:
    journal, _ = shared.journal.of_stored(), shared.add_user("maya")
    assert journal.append([call(1)]) == frozenset()
    shared.people.tombstones.add(MAYA)
    assert journal.append([call(2)]) == {MAYA}
    assert journal.append([attempt(1)]) == frozenset(), "a call that is recorded may end"


def test_however_an_erasure_and_the_journal_overlap_nothing_is_left(shared: Store) -> None:
    journal, numbers = shared.journal.of_stored(), count()
    for _ in range(ROUNDS):
        shared.add_user("maya")
        stop = Event()

        def write(stop: Event = stop) -> None:
            while not stop.is_set():
                number = next(numbers)
                gone = journal.append([call(number)])
                journal.append([attempt(number), call(-number, "")])
                if gone:
                    return

        with ThreadPoolExecutor(4) as writers:
            writing = [writers.submit(write) for _ in range(4)]
            shared.people.erase("maya")
            stop.set()
            for future in writing:
                future.result()
        assert shared.journal.ledger(user_key=MAYA) == ()
        assert [each.key for each in shared.journal.calls("r") if each.user_key] == []


def test_an_append_that_waits_for_an_erasure_finds_the_user_gone(shared: Store, url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("writers of SQLite take turns")
    journal, _ = shared.journal.of_stored(), shared.add_user("maya")
    journal.append([call(1)])
    with ThreadPoolExecutor() as writers:
        with shared.database.write() as connection:
            erase_rows(connection, MAYA)
            late = [writers.submit(journal.append, [each]) for each in (call(2), attempt(1))]
            while connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")) < 2:
                pass
        assert [future.result() for future in late] == [{MAYA}, frozenset()]
    assert shared.journal.calls("r") == ()


WRITES: list[Callable[[User], object]] = [
    lambda user: user.interactions.add([interaction(1)]),
    lambda user: user.personas.add(persona("a"), reason="made up", status="live"),
    lambda user: user.alignments.add(alignment("first")),
    lambda user: user.statements.add(
        Statement(statement_id="s", topic="t", text="made up", evidence=(), at=NOON),
    ),
]


@pytest.mark.parametrize("write", WRITES)
def test_whoever_writes_for_a_user_who_is_gone_is_told_so_and_not_that_the_store_failed(
    shared: Store, write: Callable[[User], object]
) -> None:
    user = shared.add_user("maya")
    shared.people.erase("maya")
    with pytest.raises(ErasedUserError, match="was erased"):
        write(user)
    assert shared.users() == ()


def test_a_tombstone_goes_with_its_last_part_unless_it_was_noted_anew(shared: Store) -> None:
    stones = shared.people.tombstones
    first = stones.add(MAYA)
    second = stones.add(MAYA)
    for part in ("rows", "index", "files", "tracking"):
        stones.done(first, part)
    assert stones.all() == (second,)
    for part in ("rows", "index", "files"):
        stones.done(second, part)
    assert stones.find(MAYA) == second._replace(parts=("tracking",))
    stones.done(second, "tracking")
    assert stones.all() == ()


def test_while_rows_are_left_the_user_is_neither_found_nor_made(shared: Store) -> None:
    shared.add_user("maya")
    stone = shared.people.tombstones.add(MAYA)
    with pytest.raises(ErasedUserError):
        shared.add_user("maya")
    with pytest.raises(ErasedUserError):
        shared.keys.create("user", user_id="maya")
    shared.people.erase_rows(stone)
    assert shared.add_user("maya").interactions.add([interaction(1)]) == 1
