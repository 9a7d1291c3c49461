"""Entries that many threads want written go to disk together, before any of these threads goes on."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from personaagent.data.call import Attempt, Call, Cost
from personaagent.data.errors import SetupError, StorageError
from personaagent.data.store.journal import now
from personaagent.journal.recorder import JournalWriter

THREADS = 8


class Disk:
    """A journal that says when it may be written, and what was written together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_asked, self.is_free = threading.Event(), threading.Event()
        self.failures: list[BaseException] = []

    @property
    def written(self) -> list[str]:
        """Every entry, in order."""
        return [key for batch in self.batches for key in batch]

    def append(self, entries: Sequence[Call | Attempt]) -> frozenset[str]:
        self.is_asked.set()
        assert self.is_free.wait(10)
        if self.failures:
            raise self.failures.pop()
        self.batches.append([entry.key for entry in entries])
        return frozenset()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def writer(disk: Disk) -> Iterator[JournalWriter]:
    journal: Any = disk
    writer = JournalWriter(journal)
    yield writer
    disk.is_free.set()
    writer.close()


def call(name: str) -> Call:
    texts = dict.fromkeys(("run_id", "user_key", "role", "place", "endpoint", "model", "request"), "made up")
    return Call(**texts, key=name, ordinal=1, worst=Cost(), at=now())


def test_a_thread_that_waited_finds_its_entry_on_disk_and_few_batches_are_written(
    disk: Disk, writer: JournalWriter
) -> None:
    everyone = threading.Barrier(THREADS)

    def write(number: int) -> bool:
        batch = writer.put(call(str(number)))
        everyone.wait()
        disk.is_free.set()
        batch.wait()
        return str(number) in disk.written

    with ThreadPoolExecutor(THREADS) as threads:
        assert all(threads.map(write, range(THREADS)))
    assert sorted(disk.written) == [str(number) for number in range(THREADS)]
    assert len(disk.batches) == 1


def test_what_comes_while_a_batch_is_written_goes_with_the_next(disk: Disk, writer: JournalWriter) -> None:
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(writer.put(call("first")).wait)
        assert disk.is_asked.wait(10)
        gathered = [writer.put(call("second")), writer.put(call("third"))]
        disk.is_free.set()
        first.result()
    gathered[0].wait()
    assert disk.batches == [["first"], ["second", "third"]]


def test_an_entry_that_no_thread_waits_for_is_written_at_the_end(disk: Disk, writer: JournalWriter) -> None:
    disk.is_free.set()
    writer.put(call("given up"))
    assert disk.written == []
    writer.close()
    assert disk.written == ["given up"]
    with pytest.raises(SetupError, match="this run is closed"):
        writer.put(call("too late"))


def test_a_batch_that_cannot_be_written_fails_for_all_who_are_in_it_and_no_other(
    disk: Disk, writer: JournalWriter
) -> None:
    disk.is_free.set()
    disk.failures.append(StorageError("the disk is full"))
    batches = [writer.put(call("one")), writer.put(call("another"))]
    for batch in batches:
        with pytest.raises(StorageError, match="the disk is full"):
            batch.wait()
    writer.put(call("the next")).wait()
    assert disk.written == ["the next"]


def test_a_batch_whose_writer_was_interrupted_is_written_by_the_next_who_waits(
    disk: Disk, writer: JournalWriter
) -> None:
    disk.is_free.set()
    disk.failures.append(KeyboardInterrupt())
    batches = [writer.put(call("one")), writer.put(call("another"))]
    with pytest.raises(KeyboardInterrupt):
        batches[0].wait()
    batches[1].wait()
    assert disk.batches == [["one", "another"]]
