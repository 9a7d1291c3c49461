import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personaagent.data.errors import InputError, RecordError, UnknownNameError
from personaagent.data.lamp import LampData, LampUser, load, task_named
from personaagent.data.task import OPEN

Files = Callable[..., Path]
Questions = list[dict[str, Any]]
MOVIES = task_named("LaMP-2M")


@pytest.fixture
def movies(files: Files, movie_questions: Questions, movie_golds: dict[str, Any]) -> LampData:
    return load(files(movie_questions, movie_golds), MOVIES)


def test_questions_of_one_user_share_one_history(movies: LampData) -> None:
    assert [user.user_id for user in movies.users] == ["7", "8"]
    assert [len(user.history) for user in movies.users] == [3, 1]
    assert [question.interaction_id for question in movies.questions] == ["2", "1", "3"]


def test_dated_items_come_oldest_first_and_those_of_one_date_in_the_order_of_the_file(movies: LampData) -> None:
    history = movies.users[0].history
    assert [(item.interaction_id, item.position) for item in history] == [("71", 0), ("70", 1), ("72", 2)]


def test_questions_come_in_time_order_after_the_whole_history(movies: LampData) -> None:
    for user in movies.users:
        moments = [interaction.moment for interaction in (*user.history, *user.questions)]
        assert moments == sorted(set(moments))


def test_an_item_becomes_an_interaction_by_the_template_of_the_task(movies: LampData) -> None:
    item = movies.users[0].history[0]
    assert item.query == MOVIES.query("Two bakers swap shops.")
    assert (item.ground_truth, item.task, item.source) == ("comedy", "LaMP-2M", "import")
    assert item.at is not None and item.at.isoformat() == "2020-03-01T00:00:00+00:00"


def test_a_question_has_its_gold_as_ground_truth(movies: LampData) -> None:
    assert {question.interaction_id: question.ground_truth for question in movies.questions} == {
        "1": "classic",
        "2": "comedy",
        "3": "fantasy",
    }


def test_without_an_outputs_file_ground_truths_are_unknown(files: Files, movie_questions: Questions) -> None:
    assert {question.ground_truth for question in load(files(movie_questions), MOVIES).questions} == {None}


def test_in_the_user_based_form_each_question_is_its_own_user(files: Files, movie_questions: Questions) -> None:
    for question in movie_questions:
        del question["user_id"], question["date"]
        for item in question["profile"]:
            item.pop("date", None)
    data = load(files(movie_questions, prefix="dev_"), MOVIES)
    assert [user.user_id for user in data.users] == ["1", "2", "3"]
    assert [item.interaction_id for item in data.users[0].history] == ["70", "71", "72"]
    assert data.users[0].history[0].at is None


def test_a_movie_question_without_its_template_survives(files: Files, movie_questions: Questions) -> None:
    movie_questions[2]["input"] = "x Wizards strike."
    [question] = load(files(movie_questions), MOVIES).users[1].questions
    assert question.query == MOVIES.content(question.query) == "x Wizards strike."


def test_a_question_without_a_date_is_asked_just_after_a_dated_history(
    files: Files, movie_questions: Questions
) -> None:
    for question in movie_questions:
        del question["date"]
    maya = load(files(movie_questions), MOVIES).users[0]
    assert [question.interaction_id for question in maya.questions] == ["1", "2"]
    assert all(maya.history[-1].precedes(question) for question in maya.questions)


def test_a_history_is_what_all_questions_of_the_user_know(files: Files, movie_questions: Questions) -> None:
    later = {"id": "73", "description": "A ferry is late.", "tag": "classic", "date": "2020-05-01"}
    movie_questions[0]["profile"] = [*movie_questions[0]["profile"], later]
    maya = load(files(movie_questions), MOVIES).users[0]
    assert [item.interaction_id for item in maya.history] == ["71", "70", "72"]


def test_an_item_with_the_id_of_a_question_gets_another(files: Files, movie_questions: Questions) -> None:
    movie_questions[2]["profile"][0]["id"] = "3"
    omar = load(files(movie_questions), MOVIES).users[1]
    assert [interaction.interaction_id for interaction in (*omar.history, *omar.questions)] == ["3-item", "3"]


def only_user(files: Files, item: dict[str, str], task: str) -> LampUser:
    [user] = load(files([{"id": 5, "input": "made-up question", "profile": [item]}]), task_named(task)).users
    return user


@pytest.mark.parametrize(
    ("task", "item", "query", "ground_truth"),
    [
        ("LaMP-1", {"title": "On knots", "abstract": "We tie."}, "On knots We tie.", None),
        ("LaMP-1", {"title": "On knots", "abstract": ""}, "On knots", None),
        (
            "LaMP-2N",
            {"title": "Goats", "text": "Goats won.", "category": "sports"},
            "... article: Goats won.",
            "sports",
        ),
        ("LaMP-3", {"text": "It melted.", "score": "1"}, "... review: It melted.", "1"),
        ("LaMP-4", {"title": "Goats", "text": "Goats won."}, "... article: Goats won.", "Goats"),
        ("LaMP-5", {"title": "On knots", "abstract": "We tie."}, "... paper: We tie.", "On knots"),
        ("LaMP-6", {"title": "Lunch?", "text": "At noon?"}, "... email: At noon?", "Lunch?"),
        ("LaMP-7", {"text": "so much rain"}, "so much rain", None),
    ],
)
def test_each_task_keeps_its_items_in_its_own_fields(
    files: Files, task: str, item: dict[str, str], query: str, ground_truth: str | None
) -> None:
    user = only_user(files, {"id": "50", **item}, task)
    assert user.user_id == "5"
    [interaction] = user.history
    assert interaction.query.endswith(query.removeprefix("..."))
    assert interaction.ground_truth == ground_truth


def test_a_title_that_is_no_answer_is_metadata(files: Files) -> None:
    item = {"id": "50", "title": "Goats", "text": "Goats won.", "category": "sports"}
    assert only_user(files, item, "LaMP-2N").history[0].metadata == {"title": "Goats"}


def test_a_year_is_a_date(files: Files) -> None:
    [item] = only_user(files, {"id": "50", "title": "On knots", "abstract": "", "date": "1988"}, "LaMP-1").history
    assert item.at is not None and item.at.isoformat() == "1988-01-01T00:00:00+00:00"


def test_the_same_files_give_the_same_data(files: Files, movie_questions: Questions) -> None:
    folder = files(movie_questions)
    assert load(folder, MOVIES) == load(folder, MOVIES)


Spoil = Callable[[list[Any]], object]
SPOILS: dict[str, tuple[Spoil, str]] = {
    "no profile": (lambda q: q[2].pop("profile"), r"question 3, field 'profile': is missing"),
    "an empty profile": (lambda q: q[2].update(profile=[]), r"question 3, field 'profile': is empty"),
    "a profile that is no list": (lambda q: q[2].update(profile={}), r"question 3, field 'profile': expected a list"),
    "no input": (lambda q: q[2].pop("input"), r"question 3, field 'input': is missing"),
    "no id": (lambda q: q[2].pop("id"), r"question number 3, field 'id': is missing"),
    "an empty id": (lambda q: q[2].update(id=" "), r"question number 3, field 'id': is empty"),
    "an id twice": (lambda q: q[2].update(id="2"), r"question number 3, field 'id': '2' is the id of an earlier"),
    "an item id twice": (lambda q: q[0]["profile"][1].update(id="70"), r"question 1, profile item 1, field 'id'"),
    "an unknown label": (
        lambda q: q[2]["profile"][0].update(tag="horror"),
        r"question 3, profile item 1, field 'tag': 'horror' is not one of .* sci-fi, based on a book",
    ),
    "no description": (
        lambda q: q[2]["profile"][0].pop("description"),
        r"question 3, profile item 1, field 'description': is missing; the record has 'id', 'tag', 'date'",
    ),
    "a date before the year 1 in UTC": (
        lambda q: q[2].update(date="0001-01-01T00:00+02:00"),
        r"question 3, field 'date': .*out of range",
    ),
    "a number for a text": (lambda q: q[2].update(input=3), r"field 'input': expected a text, found int '3'"),
    "a NUL": (lambda q: q[2].update(input="a\0b"), r"field 'input': has the unprintable character '\\x00' at pos"),
    "a control character": (
        lambda q: q[0]["profile"][1].update(description="a\x1bb"),
        r"question 1, profile item 2, field 'description': has the unprintable character '\\x1b' at position 1",
    ),
    "half a character": (lambda q: q[2].update(input="\ud800"), r"field 'input': has the unprintable character"),
    "ten megabytes": (
        lambda q: q[2].update(input="a" * 10_000_000),
        r"question 3, field 'input': has 10,000,000 characters, at most 1,000,000 are taken",
    ),
    "some dates missing": (
        lambda q: q[0]["profile"][1].pop("date"),
        r"question 1, profile item 2, field 'date': is missing, while other items",
    ),
    "a wrong date": (
        lambda q: q[2]["profile"][0].update(date="01/02/2020"),
        r"question 3, profile item 1, field 'date': '01/02/2020' is not a date",
    ),
    "a question that is no object": (lambda q: q.append("what?"), r"question number 4: expected an object"),
    "profiles of one user with nothing in common": (
        lambda q: q[2].update(user_id=7),
        r"question 1, field 'profile': has no item in common",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILS.values(), ids=list(SPOILS))
def test_what_is_wrong_with_a_question_is_named(
    files: Files, movie_questions: Questions, spoil: Spoil, message: str
) -> None:
    questions = copy.deepcopy(movie_questions)
    spoil(questions)
    with pytest.raises(RecordError, match=message) as caught:
        load(files(questions), MOVIES)
    assert caught.value.file.endswith("questions.json")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("golds", "message"),
    [
        ({"1": "classic", "2": "comedy"}, r"field 'golds': does not match the questions: no gold for \['3'\]"),
        ({"1": "classic", "2": "comedy", "3": "action", "4": "action"}, r"no question for \['4'\]"),
        ({"1": "classic", "2": "comedy", "3": "Fantasy"}, r"gold 3, field 'output': 'Fantasy' is not one of"),
    ],
)
def test_golds_must_fit_the_questions_and_the_task(
    files: Files, movie_questions: Questions, golds: dict[str, str], message: str
) -> None:
    outputs = {"task": "LaMP_2", "golds": [{"id": number, "output": tag} for number, tag in golds.items()]}
    with pytest.raises(RecordError, match=message) as caught:
        load(files(movie_questions, outputs), MOVIES)
    assert caught.value.file.endswith("outputs.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"id": "1",]', r"questions.json: line 1, column 13: malformed JSON"),
        (b"", "malformed JSON"),
        (b'["\xff"]', "malformed JSON: 'utf-8' codec"),
        (b"[" * 100_000, "malformed JSON"),
        (b"{}", "expected a list"),
        (b"[]", "is empty"),
    ],
)
def test_a_file_that_is_no_list_of_questions_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "questions.json").write_bytes(content)
    with pytest.raises(RecordError, match=message):
        load(tmp_path, MOVIES)


def test_a_folder_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file dev_questions.json"):
        load(tmp_path, MOVIES, "dev")


def test_of_several_splits_one_must_be_named(files: Files, movie_questions: Questions) -> None:
    files(movie_questions, prefix="dev_")
    folder = files(movie_questions[:1], prefix="train_")
    with pytest.raises(InputError, match=r"several splits, dev_questions.json, train_questions.json"):
        load(folder, MOVIES)
    assert len(load(folder, MOVIES, "train").questions) == 1


def test_a_task_that_is_not_lamps_is_refused(files: Files, movie_questions: Questions) -> None:
    with pytest.raises(UnknownNameError, match="unknown LaMP task 'open'"):
        load(files(movie_questions), OPEN)


def test_many_questions_of_one_user_load_in_no_time(tmp_path: Path) -> None:
    profile = [{"id": f"i{n}", "text": f"Made-up review {n}.", "score": "4"} for n in range(500)]
    questions = [{"id": f"q{n}", "user_id": "u", "input": "?", "profile": profile} for n in range(50)]
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    [user] = load(tmp_path, task_named("LaMP-3")).users
    assert (len(user.history), len(user.questions)) == (500, 50)
