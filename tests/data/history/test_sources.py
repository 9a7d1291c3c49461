"""What people have: tables, arrays, exports, rows in memory, and dates as they are written."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from personaagent.data.errors import InputError, RecordError
from personaagent.data.history import History, read_history
from personaagent.data.history.columns import Columns
from personaagent.data.lamp import task_named
from personaagent.data.record import date_of
from personaagent.data.task import Task

Write = Callable[[str, str], Path]
EVENING = datetime(2024, 5, 1, 20, 15, tzinfo=UTC)
TABLE = 'Film,Stars,Seen,Who\n"Lamp, The",4,2024-05-02,maya\nFerry,2,2024-05-01,omar\nUnseen,,,maya\n'
FILMS = Columns(query="Film", ground_truth="Stars", at="Seen")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return written


def pairs(history: History, user: str = "maya") -> list[tuple[str, str | None]]:
    return [(interaction.query, interaction.ground_truth) for interaction in history.by_user[user]]


def test_a_table_is_read_by_the_names_of_its_columns(write: Write) -> None:
    history = read_history(write("films.csv", TABLE), user="maya", columns=FILMS)
    assert pairs(history) == [("Ferry", "2"), ("Lamp, The", "4")]
    assert history.left_out == 1
    assert not history.is_guess
    assert history.by_user["maya"][0].metadata == {"Who": "omar"}


def test_a_column_may_say_whose_a_row_is(write: Write) -> None:
    columns = Columns(query="Film", ground_truth="Stars", at="Seen", user="Who")
    file = write("films.tsv", TABLE.replace('"Lamp, The"', "Lamp").replace(",", "\t"))
    assert set(read_history(file, columns=columns).by_user) == {"maya", "omar"}
    assert pairs(read_history(file, user="omar", columns=columns), "omar") == [("Ferry", "2")]


def test_columns_are_guessed_by_their_names_and_it_is_said(write: Write) -> None:
    history = read_history(write("own.csv", "Date,Question,Answer\n2024-05-01,Lunch?,Soup.\n"), user="maya")
    assert pairs(history) == [("Lunch?", "Soup.")]
    assert history.is_guess
    assert (
        history.read_as == "query is 'Question' (guessed), ground_truth is 'Answer' (guessed), at is 'Date' (guessed)"
    )


def test_what_cannot_be_guessed_is_asked_for(write: Write) -> None:
    with pytest.raises(InputError, match="no column looks like the ground_truth: name it with --truth, one of 'Film'"):
        read_history(write("films.csv", "Film,Seen\nLamp,2024-05-01\n"), user="maya", columns=Columns(query="Film"))
    with pytest.raises(InputError, match="like the query and ground_truth: name it with --query and --truth, one"):
        read_history(write("dishes.csv", "Dish,Verdict\nSoup,again\n"), user="maya")
    with pytest.raises(InputError, match="there is no column 'film': use one of 'Film', 'Stars'"):
        read_history(write("films.csv", TABLE), user="maya", columns=Columns(query="film"))
    with pytest.raises(InputError, match="whose interactions are these"):
        read_history(write("films.csv", TABLE), columns=FILMS)
    with pytest.raises(InputError, match=r"cannot tell what this is: files end in \.jsonl"):
        read_history(write("films.xlsx", ""), user="maya")


def test_rows_may_come_from_memory() -> None:
    rows: list[Mapping[str, Any]] = [
        {"query": "Lunch?", "ground_truth": "Soup.", "at": EVENING, "calm": 0.5},
        {"query": "Dinner?", "ground_truth": "Rice.", "at": EVENING.replace(year=2025), "calm": None},
    ]
    dataset: Any = datasets.Dataset.from_list([dict(row) for row in rows])
    frame: Any = pd.DataFrame(rows)
    for source in (rows, dataset, frame):
        history = read_history(source, user="maya")
        assert pairs(history) == [("Lunch?", "Soup."), ("Dinner?", "Rice.")]
        assert history.by_user["maya"][0].at == EVENING


def test_parquet_is_read(tmp_path: Path) -> None:
    file = tmp_path / "own.parquet"
    pd.DataFrame({"query": ["Lunch?"], "ground_truth": [4], "at": [pd.Timestamp("2024-05-01")]}).to_parquet(file)
    assert pairs(read_history(file, user="maya")) == [("Lunch?", "4")]


def test_an_array_and_another_encoding_are_read(write: Write, tmp_path: Path) -> None:
    row = {"query": "Lunch?", "ground_truth": "Soup.", "at": "2024-05-01"}
    assert pairs(read_history(write("own.json", json.dumps([row])), user="maya")) == [("Lunch?", "Soup.")]
    assert pairs(read_history(write("own.jsonl", json.dumps([row])), user="maya")) == [("Lunch?", "Soup.")]
    (tmp_path / "wide.jsonl").write_bytes(json.dumps(row).encode("utf-16"))
    assert pairs(read_history(tmp_path / "wide.jsonl", user="maya")) == [("Lunch?", "Soup.")]


def test_rows_without_dates_keep_the_order_of_the_file(write: Write) -> None:
    rows = "\n".join(json.dumps({"query": f"{n}?", "ground_truth": "yes"}) for n in (2, 1, 3))
    history = read_history(write("own.jsonl", rows), user="maya")
    assert [(interaction.query, interaction.at, interaction.position) for interaction in history.by_user["maya"]] == [
        ("2?", None, 0),
        ("1?", None, 1),
        ("3?", None, 2),
    ]


def test_the_newest_may_stand_first(write: Write) -> None:
    rows = [{"query": f"{day}?", "ground_truth": "yes", "at": f"2024-05-0{day}"} for day in (3, 2, 1)]
    history = read_history(write("own.json", json.dumps(rows)), user="maya")
    assert [interaction.query for interaction in history.by_user["maya"]] == ["1?", "2?", "3?"]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("2024-05-01T20:15:00.123456789Z", EVENING.replace(microsecond=123456)),
        ("2024-05", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-05-01 20:15:00+00", EVENING),
        ("2024-05-01 20:15:00 UTC", EVENING),
        ("Wed, 01 May 2024 20:15:00 +0000", EVENING),
        ("May 1, 2024, 8:15 PM", EVENING),
        ("2024/05/01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("13/05/2024", datetime(2024, 5, 13, tzinfo=UTC)),
        (1714594500, EVENING),
        (1714594500000, EVENING),
        ("1714594500", EVENING),
        ("1714594500.000200", EVENING.replace(microsecond=200)),
    ],
)
def test_dates_are_read_as_they_are_written(written: str | float, wanted: datetime) -> None:
    assert date_of(written) == wanted


@pytest.mark.parametrize("written", ["yesterday", "8:15 PM", "May 1", "05/06/2024", "", "2024-02-30", 1e30])
def test_what_is_no_date_is_refused(written: str | float) -> None:
    with pytest.raises(ValueError, match=r"is not a date|or the|is no time"):
        date_of(written)


@pytest.mark.parametrize(("written", "read"), [(4, "4"), (4.0, "4"), ("4.0", "4"), ("5", "5")])
def test_a_number_is_a_rating(write: Write, written: object, read: str) -> None:
    row = {"query": "Lamp?", "ground_truth": written, "at": "2024-05-01"}
    history = read_history(write("own.json", json.dumps([row])), user="maya", task=task_named("LaMP-3"))
    assert pairs(history) == [("Lamp?", read)]


def test_half_a_star_is_no_answer_of_a_task_of_whole_ones(write: Write) -> None:
    row = {"query": "Lamp?", "ground_truth": 3.5, "at": "2024-05-01"}
    with pytest.raises(RecordError, match=r"item 1, field 'ground_truth': '3\.5' is not one of this task's"):
        read_history(write("own.json", json.dumps([row])), user="maya", task=task_named("LaMP-3"))


GOODREADS = (
    "Book Id,Title,Author,My Rating,Date Read,Date Added,My Review\n"
    '1,The Quiet Pier,Ada Lind,4,2024/03/21,2024/03/17,"Slow, but kind."\n2,Salt Lanes,Bo Aune,0,,2024/04/01,\n'
)
LETTERBOXD = "Date,Name,Year,Letterboxd URI,Rating\n2024-05-02,The Long Ferry,1998,https://example.org/a,3.5\n"
AMAZON = {"rating": 5.0, "title": "Sharp", "text": "Cuts well.", "asin": "B0", "timestamp": 1588687728923}
STARS = Task(name="stars", kind="rating", labels=("1", "2", "3", "4", "5"))


def test_goodreads(write: Write) -> None:
    file = write("goodreads.csv", GOODREADS)
    history = read_history(file, user="maya")
    assert pairs(history) == [
        ("What do you think of the book The Quiet Pier by Ada Lind?", "4 of 5 stars. Slow, but kind.")
    ]
    assert history.left_out == 1
    assert history.read_as.startswith("Goodreads: ")
    assert pairs(read_history(file, user="maya", task=STARS)) == [("The Quiet Pier by Ada Lind", "4")]


def test_a_rating_that_is_no_number_is_named(write: Write) -> None:
    with pytest.raises(RecordError, match=r"row 1, field 'My Rating': 'four' is no number"):
        read_history(write("goodreads.csv", GOODREADS.replace("Lind,4", "Lind,four")), user="maya")


def test_letterboxd(write: Write) -> None:
    history = read_history(write("ratings.csv", LETTERBOXD), user="maya")
    assert pairs(history) == [("What do you think of the film The Long Ferry (1998)?", "3.5 of 5 stars")]


def test_amazon_reviews(write: Write) -> None:
    history = read_history(write("reviews.jsonl", json.dumps(AMAZON)), user="maya")
    assert pairs(history) == [("What do you think of the product B0, 'Sharp'?", "5 of 5 stars. Cuts well.")]
    assert history.by_user["maya"][0].at == datetime(2020, 5, 5, 14, 8, 48, 923000, tzinfo=UTC)


def test_chatgpt(write: Write) -> None:
    def node(parent: str | None, role: str, *parts: str) -> dict[str, Any]:
        content = {"content_type": "text", "parts": list(parts)}
        return {
            "parent": parent,
            "message": {"id": role, "author": {"role": role}, "create_time": 1, "content": content},
        }

    mapping = {
        "root": {"parent": None, "message": None},
        "a": node("root", "user", "Which herb?"),
        "b": node("a", "assistant", "Mint."),
        "left": node("a", "assistant", "An answer that was made anew."),
    }
    file = write("conversations.json", json.dumps([{"mapping": mapping, "current_node": "b"}]))
    [one] = read_history(file, user="maya").by_user["maya"]
    assert (one.query, one.ground_truth, one.response) == ("Which herb?", None, "Mint.")


def test_fine_tuning_messages(write: Write) -> None:
    messages = [{"role": role, "content": text} for role, text in (("user", "Lunch?"), ("assistant", "Soup."))]
    assert pairs(read_history(write("tune.jsonl", json.dumps({"messages": messages})), user="maya")) == [
        ("Lunch?", "Soup.")
    ]


def test_slack(write: Write) -> None:
    said = [("U1", "Lunch?", "1715000001.000200"), ("U2", "Soup.", "1715000002.000200"), ("U2", "Now.", "1715000003.1")]
    messages = [{"type": "message", "user": user, "text": text, "ts": at} for user, text, at in said]
    file = write("2024-05-06.json", json.dumps(messages))
    assert pairs(read_history(file, user="U2"), "U2") == [("Lunch?", "Soup.")]
    with pytest.raises(InputError, match="holds no interaction of 'U3'"):
        read_history(file, user="U3")
