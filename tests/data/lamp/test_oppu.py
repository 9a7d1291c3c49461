import json
from pathlib import Path
from typing import Any

import pytest

from personaagent.data.errors import InputError, RecordError
from personaagent.data.lamp import LampUser, load, task_named

MOVIES, RATINGS = task_named("LaMP-2M"), task_named("LaMP-3")


def movie_user(user_id: int, questions: int = 2) -> dict[str, Any]:
    """Return a made-up user in OPPU's form."""
    profile = [{"id": f"{user_id}{n}", "tag": "comedy", "description": f"Two bakers swap shop {n}."} for n in range(3)]
    asked = [
        {"id": f"{user_id}-{n}", "input": MOVIES.query(f"A ghost of {user_id} {n}."), "gold": "classic"}
        for n in range(questions)
    ]
    return {"user_id": user_id, "profile": profile, "query": asked}


def written(folder: Path, users: list[dict[str, Any]], name: str = "user_top_100_history.json") -> Path:
    (folder / name).write_text(json.dumps(users))
    return folder


def test_a_user_has_one_history_and_all_the_questions(tmp_path: Path) -> None:
    data = load(written(tmp_path, [movie_user(7), movie_user(8, questions=1)]), MOVIES)
    assert [(user.user_id, len(user.history), len(user.questions)) for user in data.users] == [("7", 3, 2), ("8", 3, 1)]
    assert {question.ground_truth for question in data.questions} == {"classic"}
    assert [interaction.position for interaction in data.users[0].history] == [0, 1, 2]
    assert "order of a profile" in data.notes[0]


def test_ratings_may_be_numbers(tmp_path: Path) -> None:
    review = {"id": "r", "input": RATINGS.query("Broke at once."), "gold": 2}
    user = {"user_id": "1", "profile": [{"id": "p", "text": "Still works.", "score": 5}], "query": [review]}
    [maya] = load(written(tmp_path, [user], "user_more_100_history.json"), RATINGS).users
    assert isinstance(maya, LampUser)
    assert (maya.history[0].ground_truth, maya.questions[0].ground_truth) == ("5", "2")


def test_a_misnamed_label_file_is_no_error_but_one_of_other_questions_is(tmp_path: Path) -> None:
    written(tmp_path, [movie_user(7)])
    labels = tmp_path / "user_top_100_history_label.json"
    golds = [{"id": f"7-{n}", "output": "classic"} for n in range(2)]
    labels.write_text(json.dumps({"task": "LaMP_8", "golds": golds}))
    assert len(load(tmp_path, MOVIES).questions) == 2
    labels.write_text(json.dumps({"task": "LaMP_8", "golds": golds[:1]}))
    with pytest.raises(InputError, match="labels 1 questions, of which 1 are asked"):
        load(tmp_path, MOVIES)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [("gold", "horror", "not one of this task's labels"), ("gold", None, "found NoneType"), ("input", 3, "found int")],
)
def test_what_is_wrong_is_named(tmp_path: Path, field: str, value: object, problem: str) -> None:
    user = movie_user(7)
    user["query"][1][field] = value
    with pytest.raises(RecordError, match=problem) as caught:
        load(written(tmp_path, [user]), MOVIES)
    assert "7" in str(caught.value)


def test_ids_must_differ(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="'7-0' is the id of an earlier question"):
        load(written(tmp_path, [movie_user(7), movie_user(7)]), MOVIES)
