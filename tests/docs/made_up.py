"""The folder that README and docs work in: the files that they name. Every person and text in them is invented."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from personaagent.data.change import Certificate, Evidence
from personaagent.data.lamp import TASKS

_ROWS = [
    ("What should I read in the train?", "a short novel about the sea"),
    ("A film for a quiet evening?", "an old comedy"),
    ("What should I cook for two?", "lentils with lemon"),
    ("A book for my brother?", "a history of maps"),
    ("Music for a long drive?", "slow piano"),
    ("A place for a walk?", "along the river"),
]
_DISHES = """Cooked,Dish,My verdict
2026-03-01,Lentil soup with lemon and cumin,again
2026-03-02,Beef stew with red wine,never
2026-03-04,Chickpea curry with spinach,again
2026-03-11,Mushroom risotto with parmesan,once in a while
"""
_USERS, _ITEMS = 2, 4
_CITATION = (
    'For an author who has written the paper with the title "{}", which reference is related? Just answer with [1] or '
    '[2] without explanation. [1]: "Made-up lamps" [2]: "Made-up ferries"'
)
_PROFILE = {
    "LaMP-1": ("title", "abstract", ["A made-up abstract"]),
    "LaMP-2M": ("description", "tag", ["comedy", "classic"]),
    "LaMP-2N": ("text", "category", ["travel", "sports"]),
    "LaMP-3": ("text", "score", ["4", "2"]),
    "LaMP-4": ("text", "title", ["A made-up headline"]),
}
"""Of each task, the field of an item that is its content, the other field, and what that says."""
_STYLE = Certificate(
    lm="openai/made-up",
    task="LaMP-4",
    form="lean:k=4",
    kinds={"style": Evidence(n=40, mean=0.1, wealth=30.0)},
    users=40,
    version="made up",
    made_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def fill(folder: Path) -> None:
    """Write the files."""
    dated = [
        {"query": query, "ground_truth": truth, "at": f"2026-01-0{day}"} for day, (query, truth) in enumerate(_ROWS, 1)
    ]
    pd.DataFrame(dated).to_csv(folder / "maya.csv", index=False)
    (folder / "maya.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dated), encoding="utf-8")
    (folder / "dishes.csv").write_text(_DISHES, encoding="utf-8")
    films = pd.DataFrame({"Title": [row["query"] for row in dated], "My rating": [4, 2, 5, 3, 4, 1]})
    films.assign(Watched=[row["at"] for row in dated]).to_csv(folder / "films.csv", index=False)
    reviews = pd.DataFrame(dated).rename(columns={"query": "question", "ground_truth": "answer"})
    reviews.assign(reviewer=["maya", "omar"] * 3).to_parquet(folder / "reviews.parquet")
    moods = [{"query": row["query"], "ground_truth": ["calm", "tense"][place % 2]} for place, row in enumerate(dated)]
    pd.DataFrame(moods).to_csv(folder / "moods.csv", index=False)
    for name, labels in {"moods": ["calm", "tense"], "irony": ["ironic", "not ironic"]}.items():
        _write_own_task(folder / "DIR" / name, name, labels)
    (folder / "STYLE.json").write_text(_STYLE.to_json(), encoding="utf-8")
    for task in _PROFILE:
        _write_lamp(folder / "DIR" / task, task)
    (folder / "task.json").write_bytes((folder / "DIR" / "moods" / "task.json").read_bytes())


def _write_own_task(folder: Path, name: str, labels: list[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(json.dumps({"name": name, "kind": "label", "labels": labels}), encoding="utf-8")
    for user in range(_USERS):
        rows = [{"query": query, "ground_truth": labels[(user + place) % 2]} for place, (query, _) in enumerate(_ROWS)]
        (folder / f"user{user}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_lamp(folder: Path, task: str) -> None:
    folder.mkdir(parents=True)
    content, other, values = _PROFILE[task]
    questions, golds = [], []
    for user in range(_USERS):
        items = [
            {
                "id": f"{user}-{item}",
                "title": "Made-up",
                content: f"Made-up {task} {user} {item}",
                other: values[item % len(values)],
            }
            for item in range(_ITEMS)
        ]
        for number in range(2):
            name, asked = f"q{user}-{number}", f"Made-up question {user} {number}"
            wanted = _CITATION.format(asked) if task == "LaMP-1" else TASKS[task].query(asked)
            questions.append({"id": name, "user_id": user, "input": wanted, "profile": items})
            golds.append({"id": name, "output": "[1]" if task == "LaMP-1" else values[number % len(values)]})
    (folder / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
    official = {"LaMP-2M": "LaMP_2", "LaMP-2N": "LaMP_2"}.get(task, task.replace("-", "_"))
    (folder / "outputs.json").write_text(json.dumps({"task": official, "golds": golds}), encoding="utf-8")
