import json
from pathlib import Path

import pytest

from personaagent.data.errors import InputError, RecordError
from personaagent.data.lamp import task_named
from personaagent.data.task import OPEN
from personaagent.evaluation.data import history_files, load_histories

MOVIES = task_named("LaMP-2M")


def written(file: Path, ground_truths: list[str]) -> Path:
    lines = [
        json.dumps({"query": f"Film {number}?", "ground_truth": answer, "at": f"2024-01-{number + 1:02}"})
        for number, answer in enumerate(ground_truths)
    ]
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize(("known", "asked"), [(2, 1), (4, 1), (10, 2), (23, 5)])
def test_the_newest_fifth_is_asked(tmp_path: Path, known: int, asked: int) -> None:
    data = load_histories([written(tmp_path / "maya.jsonl", ["classic"] * known)], MOVIES)
    [maya] = data.users
    assert maya.user_id == "maya"
    assert [len(maya.history), len(maya.questions)] == [known - asked, asked]
    assert {interaction.task for interaction in (*maya.history, *maya.questions)} == {"LaMP-2M"}
    assert maya.history[-1].precedes(maya.questions[0])
    assert "newest 20%" in data.notes[0]


def test_a_folder_holds_a_user_a_file(tmp_path: Path) -> None:
    for name in ("omar", "maya"):
        written(tmp_path / f"{name}.jsonl", ["yes", "no"])
    files = history_files(tmp_path)
    assert [user.user_id for user in load_histories(files, OPEN).users] == ["maya", "omar"]
    assert history_files(files[0]) == (files[0],)


def test_an_answer_outside_the_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"maya\.jsonl: line 2.*ground_truth.*'horror' is not one of this task"):
        load_histories([written(tmp_path / "maya.jsonl", ["classic", "horror"])], MOVIES)


def test_one_interaction_is_no_user(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one interaction only"):
        load_histories([written(tmp_path / "maya.jsonl", ["classic"])], MOVIES)
