"""The made-up user, in LaMP-2M's own format."""

import json
from importlib import resources
from pathlib import Path

from ..data.lamp import LampUser, load
from ..data.tasks import task_named

TASK = task_named("LaMP-2M")


def write_lamp_files(folder: Path) -> Path:
    """Write the made-up user as LaMP's question and output files into `folder`, and return it."""
    made_up = json.loads(resources.files("personaagent.demo").joinpath("made_up_user.json").read_text(encoding="utf-8"))
    profile = [{"id": f"1{index}", **item} for index, item in enumerate(made_up["history"])]
    questions = [
        {
            "id": str(100 + index),
            "input": TASK.query(question["description"]),
            "profile": profile,
            "user_id": made_up["user_id"],
            "date": question["date"],
        }
        for index, question in enumerate(made_up["questions"])
    ]
    golds = [{"id": str(100 + index), "output": question["tag"]} for index, question in enumerate(made_up["questions"])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "questions.json").write_text(json.dumps(questions, indent=1), encoding="utf-8")
    (folder / "outputs.json").write_text(json.dumps({"task": "LaMP_2", "golds": golds}, indent=1), encoding="utf-8")
    return folder


def made_up_user(folder: Path) -> LampUser:
    """Write the made-up user's files into `folder` and load them as any LaMP data is loaded."""
    [user] = load(write_lamp_files(folder), TASK).users
    return user
