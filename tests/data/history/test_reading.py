"""Reading a history from JSON lines: what is right is read exactly, what is wrong is named by file, line and field."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personaagent.data.errors import InputError, RecordError
from personaagent.data.history import read_history
from personaagent.data.interaction import Interaction
from personaagent.data.store import Store

Lines = Callable[..., Path]
GOOD: dict[str, object] = {
    "query": "A made-up film for tonight?",
    "ground_truth": "comedy",
    "at": "2024-05-01T20:15:00Z",
}


def read_jsonl(file: Path) -> tuple[Interaction, ...]:
    return read_history(file, user="maya").by_user["maya"]


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    """Return a function that writes each argument as a line: bytes as they are, the rest as JSON."""

    def write(*values: object) -> Path:
        file = tmp_path / "history.jsonl"
        file.write_bytes(
            b"\n".join(value if isinstance(value, bytes) else json.dumps(value).encode() for value in values)
        )
        return file

    return write


def test_a_line_becomes_an_interaction(lines: Lines) -> None:
    [one] = read_jsonl(lines(GOOD | {"place": "sofa", "with": ["a friend", {"age": 7}]}))
    assert (one.query, one.ground_truth) == (GOOD["query"], GOOD["ground_truth"])
    assert one.at == datetime(2024, 5, 1, 20, 15, tzinfo=UTC)
    assert (one.task, one.source, one.response) == ("open", "import", None)
    assert one.metadata == {"place": "sofa", "with": ["a friend", {"age": 7}]}


def test_lines_keep_their_order_and_blank_ones_do_not_count(lines: Lines) -> None:
    file = lines(GOOD | {"id": "b"}, b"", b"  \r", GOOD | {"id": "a"}, b"")
    assert [(interaction.interaction_id, interaction.position) for interaction in read_jsonl(file)] == [
        ("b", 0),
        ("a", 1),
    ]


@pytest.mark.parametrize(
    ("at", "moment"),
    [
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01 20:15", datetime(2024, 5, 1, 20, 15, tzinfo=UTC)),
        ("2024-05-01T22:15:00+02:00", datetime(2024, 5, 1, 20, 15, tzinfo=UTC)),
    ],
)
def test_dates_are_in_utc(lines: Lines, at: str, moment: datetime) -> None:
    assert read_jsonl(lines(GOOD | {"at": at}))[0].at == moment


def test_a_byte_order_mark_and_windows_line_ends_are_taken(lines: Lines) -> None:
    file = lines(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r", json.dumps(GOOD).encode() + b"\r")
    assert len(read_jsonl(file)) == 2


def test_line_breaks_and_tabs_inside_a_text_are_taken(lines: Lines) -> None:
    assert read_jsonl(lines(GOOD | {"query": "two\nlines\tand\r\na tab \u2028"}))[0].query.startswith("two\nlines")


def test_what_is_in_the_file_twice_is_kept_twice(lines: Lines) -> None:
    with Store.open("sqlite://") as store:
        user = store.add_user("maya")
        assert user.interactions.add(read_jsonl(lines(GOOD, GOOD))) == 2
        assert user.interactions.add(read_jsonl(lines(GOOD, GOOD))) == 0
        assert len(user.interactions) == 2


def test_a_file_that_has_grown_adds_only_what_is_new(lines: Lines) -> None:
    with Store.open("sqlite://") as store:
        user = store.add_user("maya")
        user.interactions.add(read_jsonl(lines(GOOD, GOOD | {"query": "another"})))
        assert user.interactions.add(read_jsonl(lines(GOOD, GOOD | {"query": "another"}, GOOD))) == 1


def test_made_ids_do_not_depend_on_how_a_date_is_written(lines: Lines) -> None:
    [utc] = read_jsonl(lines(GOOD))
    [local] = read_jsonl(lines(GOOD | {"at": "2024-05-01T22:15:00+02:00"}))
    assert utc.interaction_id == local.interaction_id
    assert len(utc.interaction_id) == 16


def test_a_label_of_the_task_is_taken(lines: Lines) -> None:
    [one] = read_jsonl(lines(GOOD | {"task": "LaMP-2M"}))
    assert one.task == "LaMP-2M"


LONG = "x" * 1_000_001


@pytest.mark.parametrize(
    ("wrong", "field", "problem"),
    [
        (b'{"query": "unfinished', None, "malformed JSON"),
        (b"{'query': 'single quotes'}", None, "malformed JSON"),
        (b'{"query": "a", "ground_truth": "b", "at": "2024-05-01"} {}', None, "malformed JSON"),
        (b'{"score": NaN}', None, "malformed JSON"),
        (b"[" * 100_000, None, "malformed JSON"),
        (b"9" * 10_000, None, "malformed JSON"),
        (b'{"query": "half of a pair \\ud800", "ground_truth": "b", "at": "2024"}', "query", "unprintable character"),
        (b'{"query": "a", "query": "b"}', None, "'query' is there twice"),
        (b'{"query": "a raw \x01 byte"}', None, "malformed JSON"),
        (b'{"query": "caf\xe9"}', None, "not UTF-8"),
        (["not", "an", "object"], None, "expected an object"),
        ("a text", None, "expected an object"),
        (None, None, "expected an object"),
        ({"ground_truth": "b", "at": "2024-05-01"}, "query", "is missing"),
        ({"query": "a", "at": "2024-05-01"}, "ground_truth", "is missing"),
        ({"query": "a", "ground_truth": "b"}, "at", "is missing, and other rows have it"),
        (GOOD | {"at": "01/02/2024"}, "at", "is the 02 January or the 01 February"),
        (GOOD | {"query": 7}, "query", "expected a text"),
        (GOOD | {"query": " \n"}, "query", "is empty"),
        (GOOD | {"ground_truth": None}, "ground_truth", "expected a text"),
        (GOOD | {"ground_truth": ""}, "ground_truth", "is empty"),
        (GOOD | {"at": True}, "at", "expected a date"),
        (GOOD | {"at": None}, "at", "is missing, and other rows have it"),
        (GOOD | {"at": "yesterday"}, "at", "is not a date"),
        (GOOD | {"at": "2024-13-01"}, "at", "is not a date"),
        (GOOD | {"at": ""}, "at", "is not a date"),
        (GOOD | {"at": "0001-01-01T00:00:00+05:00"}, "at", "out of range"),
        (GOOD | {"query": LONG}, "query", "has 1,000,001 characters"),
        (GOOD | {"ground_truth": LONG}, "ground_truth", "has 1,000,001 characters"),
        (GOOD | {"note": [LONG]}, "note", "has 1,000,001 characters"),
        (GOOD | {"query": "a\0b"}, "query", r"unprintable character '\x00' at position 1"),
        (GOOD | {"ground_truth": "a\x1bb"}, "ground_truth", "unprintable character"),
        (GOOD | {"note": {"deep": ["a\0b"]}}, "note", "unprintable character"),
        (GOOD | {"no\0te": 1}, "no\0te", "unprintable character"),
        (GOOD | {"task": "LaMP-99"}, "task", "unknown task 'LaMP-99'"),
        (GOOD | {"task": 2}, "task", "expected a text"),
        (
            GOOD | {"task": "LaMP-2M", "ground_truth": "horror"},
            "ground_truth",
            "'horror' is not one of this task's labels",
        ),
        (GOOD | {"task": "LaMP-3", "ground_truth": "6"}, "ground_truth", "labels: 1, 2, 3, 4, 5"),
        (GOOD | {"id": ""}, "id", "is empty"),
        (GOOD | {"id": ["a"]}, "id", "expected a text"),
        (GOOD | {"id": "x" * 257}, None, "257 characters"),
        (GOOD | {"id": "taken"}, "id", "'taken' is the id of line 1 already"),
        (b'{"query": "a", "ground_truth": "b", "at": "2024-05-02", "score": 1e999}', None, "changes when written"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)
def test_a_wrong_line_is_named_and_nothing_is_returned(
    lines: Lines, wrong: object, field: str | None, problem: str
) -> None:
    file = lines(GOOD | {"id": "taken"}, b"", wrong, GOOD | {"at": "2025-01-01"})
    with pytest.raises(RecordError) as caught:
        read_jsonl(file)
    error = caught.value
    assert (error.file, error.record, error.field) == (str(file), "line 3", field)
    assert problem in error.problem
    assert len(str(error)) < 600


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n"])
def test_a_file_without_interactions_is_refused(lines: Lines, content: bytes) -> None:
    with pytest.raises(InputError, match=r"history\.jsonl: holds no interaction"):
        read_jsonl(lines(content))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    for wrong, problem in ((tmp_path / "missing.jsonl", "No such file"), (folder, "directory")):
        with pytest.raises(InputError, match=f"{wrong}: .*{problem}"):
            read_jsonl(wrong)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=30)
        | st.dictionaries(
            st.sampled_from(["query", "ground_truth", "at", "id", "task", "more"]),
            st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["2024-05-01", "0001-01-01T00:00+09:00"]),
        ).map(lambda fields: json.dumps(GOOD | fields).encode()),
        max_size=4,
    )
)
def test_whatever_is_in_a_file_it_is_stored_whole_or_refused(lines: Lines, content: list[bytes]) -> None:
    with Store.open("sqlite://") as store:
        user = store.add_user("maya")
        try:
            history = read_jsonl(lines(*content))
        except InputError:
            return
        assert user.interactions.add(history) == len(history) > 0
        assert [interaction.query for interaction in user.interactions.all()] == [
            interaction.query for interaction in history
        ]
