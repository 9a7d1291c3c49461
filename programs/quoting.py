"""How what memory and tools return is written into a prompt: as quoted, bounded data, never as instructions."""

import json
from collections.abc import Iterable

from ..data.interaction import Interaction
from ..data.task import Task, task_or_open

MAX_QUOTED_WORDS = 40
MAX_BLOCK_CHARACTERS = 3000
_NOTHING = "(nothing)"


def quoted(text: str, most: int = MAX_QUOTED_WORDS) -> str:
    """Return `text` as one JSON string of at most `most` words: no quote or line break in it can end it."""
    words = text.split()
    cut = " ".join(words[:most]) + (" ..." if len(words) > most else "")
    return json.dumps(cut, ensure_ascii=False)


def quoted_block(text: str) -> str:
    """Return `text` with a bar before each line, cut after `MAX_BLOCK_CHARACTERS`: no line of it can pass for ours."""
    cut = text if len(text) <= MAX_BLOCK_CHARACTERS else text[:MAX_BLOCK_CHARACTERS] + " ..."
    return "\n".join(f"| {line}" for line in cut.splitlines())


def quoted_interactions(interactions: Iterable[Interaction], task: Task, most: int = MAX_QUOTED_WORDS) -> str:
    """Return one line for each interaction: what it was about (`most` words), and what the user answered if known."""
    lines = (
        f"{number}. {quoted(_content(interaction, task), most)}"
        + (f" -> the user answered {quoted(interaction.ground_truth)}" if interaction.ground_truth is not None else "")
        for number, interaction in enumerate(interactions, 1)
    )
    return "\n".join(lines) or _NOTHING


def dated_interactions(interactions: Iterable[Interaction], task: Task, most: int = MAX_QUOTED_WORDS) -> str:
    """Return one line for each interaction, oldest first: when it was, what it was about, what the user answered.

    2026-03-01: "A film for tonight?" -> "a comedy"

    What is not known is left out. The newest stands last, nearest to the question that follows.
    """
    ordered = sorted(interactions, key=lambda interaction: interaction.moment)
    return "\n".join(_dated(interaction, task, most) for interaction in ordered) or _NOTHING


def quoted_texts(texts: Iterable[str]) -> str:
    """Return one numbered line for each text."""
    return "\n".join(f"{number}. {quoted(text)}" for number, text in enumerate(texts, 1)) or _NOTHING


def _content(interaction: Interaction, task: Task) -> str:
    asked = task if interaction.task == task.name else task_or_open(interaction.task)
    return asked.content(interaction.query)


def _dated(interaction: Interaction, task: Task, most: int) -> str:
    date = f"{interaction.at.date().isoformat()}: " if interaction.at else ""
    answer = f" -> {quoted(interaction.ground_truth)}" if interaction.ground_truth is not None else ""
    return f"{date}{quoted(_content(interaction, task), most)}{answer}"
