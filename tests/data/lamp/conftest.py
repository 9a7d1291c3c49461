"""LaMP-shaped files about made-up users. All texts are invented; none is LaMP's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personaagent.data.lamp import task_named

Files = Callable[..., Path]


@pytest.fixture
def movie_questions() -> list[dict[str, Any]]:
    """Two users of LaMP-2M in the time-based form: one with two questions, one with one."""
    maya = [
        {"id": "70", "description": "A lighthouse keeper counts ships.", "tag": "classic", "date": "2020-03-02"},
        {"id": "71", "description": "Two bakers swap shops.", "tag": "comedy", "date": "2020-03-01"},
        {"id": "72", "description": "A clock runs backwards.", "tag": "sci-fi", "date": "2020-03-02"},
    ]
    omar = [{"id": "80", "description": "A dragon files its taxes.", "tag": "fantasy", "date": "2021-01-01"}]
    ask = task_named("LaMP-2M").query
    return [
        {"id": "1", "user_id": 7, "input": ask("A ferry is late."), "profile": maya, "date": "2020-05-02"},
        {"id": "2", "user_id": 7, "input": ask("A cook goes blind."), "profile": maya, "date": "2020-05-01"},
        {"id": "3", "user_id": 8, "input": ask("Wizards strike."), "profile": omar, "date": "2021-02-01"},
    ]


@pytest.fixture
def movie_golds() -> dict[str, Any]:
    outputs = {"1": "classic", "2": "comedy", "3": "fantasy"}
    return {"task": "LaMP_2", "golds": [{"id": number, "output": tag} for number, tag in outputs.items()]}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write a question file and, if given, an outputs file; return their folder."""

    def write(questions: object, golds: object = None, prefix: str = "") -> Path:
        (tmp_path / f"{prefix}questions.json").write_text(json.dumps(questions), encoding="utf-8")
        if golds is not None:
            (tmp_path / f"{prefix}outputs.json").write_text(json.dumps(golds), encoding="utf-8")
        return tmp_path

    return write
