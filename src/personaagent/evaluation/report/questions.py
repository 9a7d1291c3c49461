"""Each question as it was asked and answered, behind a fold: as many as a page has room for."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ...data.call import Call
from ..record import Row
from .analysis import TaskAnalysis
from .document import Block, Question, Table, fitting

KEY_LETTERS = 6
"""Of a user key, as a report shows it."""
_MOST_PROBABILITIES = 5
_TITLE_CHARACTERS = 100

Prompts = Mapping[tuple[str, str], str]
"""The last prompt of a user's question, by user key and place in the run."""


def prompts_of(calls: Iterable[Call]) -> Prompts:
    """Return the prompts of a run's questions."""
    return {(call.user_key, call.place): _words(json.loads(call.request)) for call in calls if call.role == "agent"}


def question_blocks(analysis: TaskAnalysis, prompts: Prompts, room: int) -> list[Block]:
    """Show the questions with what each method made of them, the first of them if there is no room for all."""
    by_question: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in analysis.evaluation.rows:  # They are in the protocol's order of questions.
        by_question[row.user_key, row.question_id].append(row)
    questions = fitting((_question(rows, prompts) for rows in by_question.values()), room)
    shown = "All" if len(questions) == len(by_question) else f"The first {len(questions)} of"
    told = "" if prompts else " Their prompts are not in this home's journal."
    said = f"{shown} {len(by_question)} questions, in report.html; every answer is a line of rows.jsonl.{told}"
    return [said, *questions]


def _question(rows: list[Row], prompts: Prompts) -> Question:
    first, place = rows[0], f"question {rows[0].question_id}"
    answers = [
        (row.method, row.parsed or row.prediction or "", row.error or row.status, _probabilities(row)) for row in rows
    ]
    asked = {row.method: prompts.get((row.user_key, f"{row.task}/{row.method}/{place}"), "") for row in rows}
    title = f"Question {first.question_id} of user {first.user_key[:KEY_LETTERS]}: {first.gold}"
    return Question(
        title[:_TITLE_CHARACTERS] + ("..." if len(title) > _TITLE_CHARACTERS else ""),
        Table(("method", "answer", "status", "probabilities"), (*answers, ("ground truth", first.gold or "", "", ""))),
        {method: prompt for method, prompt in asked.items() if prompt},
    )


def _probabilities(row: Row) -> str:
    known = sorted((row.probabilities or {}).items(), key=lambda found: -found[1])
    return ", ".join(f"{answer} {probability:.2f}" for answer, probability in known[:_MOST_PROBABILITIES])


def _words(request: dict[str, Any]) -> str:
    """Return what a request says to the LM, message by message."""
    system = request.get("system") or ""
    said = [
        ("system", [{"type": "text", "text": system}] if isinstance(system, str) else system),
        *((message["role"], message["parts"]) for message in request["messages"]),
    ]
    texts = ((role, "\n".join(part.get("text", f"({part['type']})") for part in parts)) for role, parts in said)
    return "\n\n".join(f"[{role}]\n{text}" for role, text in texts if text)
