"""Every prompt, whole, as the LM gets it. A changed prompt is a decision: look at the difference, then write it anew.

PERSONAAGENT_WRITE_GOLDEN=1 pytest tests/signatures
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import dspy
import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.tasks import task_named
from personaagent.optimizers import PersonaAlignment, examples, initial_persona
from personaagent.programs import PersonaAgent
from personaagent.programs.summarise_history import SummariseHistory
from personaagent.testing import ScriptedLM, in_memory_store

GOLDEN = Path(__file__).with_name("golden")
TASK = task_named("LaMP-2M")
NOW = datetime(2024, 5, 1, tzinfo=UTC)
FILMS = (
    ("A made-up lighthouse keeper falls in love.", "classic"),
    ("A made-up robot cleans a space station.", "social commentary"),
    ("A made-up ghost haunts a tax inspector.", "dark comedy"),
    ("A made-up dragon hatches in a barn.", "based on a book"),
)
HISTORY = [
    Interaction(
        interaction_id=f"film-{number}",
        query=TASK.query(plot),
        ground_truth=tag,
        at=datetime(2024, 1, 1 + number, tzinfo=UTC),
        task=TASK.name,
    )
    for number, (plot, tag) in enumerate(FILMS)
]
ANSWERS = {
    "search": "robots in space",
    "tool": "look_up_profile",
    "argument": "",
    "ready_to_answer": True,
    "response": "comedy",
    "critique": "Say that this user tags stories of robots by what they say about society.",
    "profile": ["Reads films for what they say about society."],
    "preferences": ["Follow the user's own tags."],
    "tool_use": ["Use at least TWO tools before answering."],
    "style": ["Answer with the tag alone."],
    "statements": ["The user looks behind the genre."],
}


@pytest.fixture(scope="module")
def prompts() -> dict[str, str]:
    """Return the first prompt of each kind: under a first persona, in an alignment, and of a summary."""
    lm = ScriptedLM(ANSWERS)
    with in_memory_store() as store, dspy.context(lm=lm):
        user = store.add_user("made up")
        user.interactions.add(HISTORY)
        history = user.interactions.all()
        persona = initial_persona(user.memory.before(history[-1]).statements())
        agent = PersonaAgent(TASK, user.memory, persona=persona)
        PersonaAlignment(n=1).compile(agent, trainset=examples(history))
        SummariseHistory()(interactions=history, known=None, task=TASK, now=NOW)
    kinds = {"search": "recall", "tool": "tool_use", "profile": "revise_persona", "statements": "summarise_user"}
    return {
        kinds.get(
            request.outputs_wanted[0], request.outputs_wanted[0]
        ): f"{request.system}\n\n=== user\n{request.user}\n"
        for request in reversed(lm.requests)
    }


@pytest.mark.parametrize("kind", ["recall", "tool_use", "response", "critique", "revise_persona", "summarise_user"])
def test_a_prompt_reads_as_it_was_decided(prompts: dict[str, str], kind: str) -> None:
    golden = GOLDEN / f"{kind}.txt"
    if os.environ.get("PERSONAAGENT_WRITE_GOLDEN"):
        golden.write_text(prompts[kind], encoding="utf-8")
    assert prompts[kind] == golden.read_text(encoding="utf-8")
