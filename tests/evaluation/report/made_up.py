"""A small evaluation of made-up users: what each method answers is decided by a rule, and every text is invented."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from personaagent.data.alignment import Spend
from personaagent.data.call import Call, Cost
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.task import Task
from personaagent.evaluation.record import (
    EvaluationProtocol,
    EvaluationWriter,
    PersonaRecord,
    Row,
    write_protocol,
)

FILMS = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic", "action"), template="Which tag? {content}")
REVIEWS = Task(name="LaMP-3", kind="rating", labels=("1", "2", "3", "4", "5"), template="Score? {content}")
HEADLINES = Task(name="LaMP-4", kind="text", template="A headline? {content}")

METHODS = ("majority", "rag", "personaagent")
USERS = tuple(byte * 8 for byte in ("a1", "b2", "c3", "d4", "e5", "f6"))
"""Six keys, as of users."""
QUESTIONS = 4
"""Of each user."""

SECRET = "a bakery film about yeast"
"""Words of a user: they are in answers and in personas."""
GOLDS = {
    "label": ("comedy", "classic", "classic", "action"),
    "rating": ("5", "2", "4", "4"),
    "text": (SECRET, "rain again", "cat elected", "bread rises"),
}


def asked(user_key: str) -> tuple[str, ...]:
    """Return the ids of a user's questions."""
    return tuple(f"{user_key[-2:]}-{number}" for number in range(QUESTIONS))


def protocol(task: Task = FILMS, methods: Iterable[str] = METHODS, users: Iterable[str] = USERS) -> EvaluationProtocol:
    return EvaluationProtocol(
        task=task,
        methods=tuple(methods),
        split="made-up",
        seed=7,
        question_ids={user: asked(user) for user in users},
        lms={"agent": "openai/made-up"},
        embedder="hash-words",
        versions={"personaagent": "0.1.0", "dspy": "3.4.1", "python": "3.11.7"},
        run_id="run-made-up",
        started=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        seconds=62.5,
        notes=("LaMP-style, rebuilt",),
    )


def with_probabilities(row: Row) -> Row:
    """Return a row whose method is 70 % sure of its answer."""
    labels = {"label": FILMS.labels, "rating": REVIEWS.labels}[FILMS.kind if row.task == FILMS.name else REVIEWS.kind]
    rest = 0.3 / (len(labels) - 1)
    return row.model_copy(update={"probabilities": {label: 0.7 if label == row.parsed else rest for label in labels}})


def row(task: Task, method: str, user_key: str, number: int) -> Row:
    """Return a row: a method is right in so many of four questions; the last is failed, or unparsed, now and then."""
    golds = GOLDS[task.kind]
    right = {"majority": 1, "rag": 2}.get(method, 3)
    answer = golds[number] if (number + USERS.index(user_key)) % QUESTIONS < right else golds[number - 1]
    fails = method == "personaagent" and user_key == USERS[0] and number == 3
    unreadable = method == "rag" and user_key == USERS[1] and number == 2
    status = "failed" if fails else "unparsed" if unreadable and task.kind != "text" else "scored"
    calls = {"majority": 0, "rag": 1}.get(method, 3)
    spend = Spend(calls=calls, prompt_tokens=200 * calls, completion_tokens=10 * calls, seconds=0.5 * calls)
    return Row(
        method=method,
        task=task.name,
        user_key=user_key,
        question_id=asked(user_key)[number],
        gold=golds[number],
        status=status,
        prediction=None if fails else f"no idea, {SECRET}?" if status == "unparsed" else answer,
        parsed=answer if status == "scored" else None,
        error="LMError" if fails else None,
        message=f"the LM is down: {SECRET}" if fails else None,
        spend=spend,
        preparation=spend if number == 0 else None,
    )


def rows(of: EvaluationProtocol) -> list[Row]:
    """Return all rows, in the order of the protocol."""
    return [
        row(of.task, method, user, number)
        for method in of.methods
        for user in of.question_ids
        for number in range(QUESTIONS)
    ]


def call(of: EvaluationProtocol, method: str, prompt: str) -> Call:
    """Return the call that a method made for the first question of the first user."""
    message = {"role": "user", "parts": [{"type": "text", "text": prompt}]}
    return Call(
        run_id=of.run_id,
        key=method,
        user_key=USERS[0],
        role="agent",
        place=f"{of.task.name}/{method}/question {asked(USERS[0])[0]}",
        endpoint="http://made-up.example",
        model="openai/made-up",
        ordinal=1,
        request=json.dumps({"model": "made-up", "system": "You are made up.", "messages": [message]}),
        worst=Cost(),
        at=of.started,
    )


def persona(*texts: str) -> Persona:
    """Return a persona with a line of the profile for each text, and one line on style."""
    lines = [PersonaLine(section="profile", text=text) for text in texts]
    return Persona(lines=(*lines, PersonaLine(section="style", text="Be brief.")))


def records(of: EvaluationProtocol, method: str = "personaagent") -> list[PersonaRecord]:
    """Return a first and an aligned persona for each user."""
    return [
        PersonaRecord(
            method=method,
            user_key=user,
            first=persona("Likes films."),
            aligned=persona("Likes films.", f"Asked for {SECRET}.", f"Is user number {number}."),
            versions=2,
        )
        for number, user in enumerate(of.question_ids)
    ]


def write(
    folder: Path, of: EvaluationProtocol, personas: Iterable[PersonaRecord] = (), backwards: bool = False
) -> Path:
    """Write a finished evaluation as the runner does, or with its rows in another order."""
    writer = EvaluationWriter(folder, of.run_id)
    for record in (*(reversed(rows(of)) if backwards else rows(of)), *personas):
        writer.write(record)
    write_protocol(folder, of)
    return folder
