"""Every prompt, whole, as the LM gets it. A changed prompt is a decision: look at the difference, then write it anew.

PERSONAAGENT_WRITE_GOLDEN=1 pytest tests/signatures
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import dspy
import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.task import OPEN, Task, task_named
from personaagent.optimizers import PersonaAlignment, examples, initial_persona
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.programs.summarise_history import SummariseHistory
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

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
    """Return the first prompt of each kind: under a first persona, in an alignment in the paper, and of a summary."""
    lm = ScriptedLM(ANSWERS)
    with in_memory_store() as store, dspy.context(lm=lm):
        user = store.add_user("made up")
        user.interactions.add(HISTORY)
        history = user.interactions.all()
        persona = initial_persona(user.memory.before(history[-1]).statements(), "paper")
        agent = PersonaAgent(TASK, user.memory, persona=persona, settings=AgentSettings(preset="paper"))
        PersonaAlignment(mode="paper", n=1).compile(agent, trainset=examples(history))
        SummariseHistory()(interactions=history, known=None, task=TASK, now=NOW)
    kinds = {"search": "recall", "tool": "tool_use", "profile": "revise_persona", "statements": "summarise_user"}
    return {
        kinds.get(request.outputs_wanted[0], request.outputs_wanted[0]): written(request)
        for request in reversed(lm.requests)
    }


@pytest.fixture(scope="module")
def lean_prompts() -> dict[str, str]:
    """Return the lean preset's prompt for each kind of answer."""
    rating = Task(name="made up", kind="rating", labels=("1", "2", "3", "4", "5"))
    asked = {
        "lean_label": (TASK, HISTORY[-1].query, "comedy"),
        "lean_rating": (rating, "A made-up book that fell apart", "1"),
        "lean_text": (OPEN, "What should I see tonight?", "The lighthouse film."),
    }
    prompts: dict[str, str] = {}
    with in_memory_store() as store:
        user = store.add_user("made up")
        user.interactions.add(HISTORY[:-1])
        persona = initial_persona(user.memory.statements())
        for kind, (task, query, answer) in asked.items():
            lm = ScriptedLM({"response": answer})
            with dspy.context(lm=lm):
                PersonaAgent(task, user.memory, persona=persona)(query=query)
            [prompts[kind]] = map(written, lm.requests)
    return prompts


@pytest.fixture(scope="module")
def learning_prompts() -> dict[str, str]:
    """Return the prompts by which evidence mode learns rules, of two answers that were wrong and one that was right."""
    lm = ScriptedLM(ANSWERS | {"rules": [], "response": "dark comedy"})
    with in_memory_store() as store, dspy.context(lm=lm):
        user = store.add_user("made up")
        user.interactions.add(HISTORY)
        PersonaAlignment(n=3).compile(PersonaAgent(TASK, user.memory), trainset=examples(HISTORY))
    kinds = {"critique": "explain_mistake", "rules": "propose_rules"}
    asked = {request.outputs_wanted[0]: written(request) for request in reversed(lm.requests)}
    return {kinds[name]: prompt for name, prompt in asked.items() if name in kinds}


def written(request: ScriptedRequest) -> str:
    return f"{request.system}\n\n=== user\n{request.user}\n"


@pytest.mark.parametrize("kind", ["recall", "tool_use", "response", "critique", "revise_persona", "summarise_user"])
def test_a_prompt_of_the_paper_reads_as_it_was_decided(prompts: dict[str, str], kind: str) -> None:
    assert prompts[kind] == golden(kind, prompts[kind])


@pytest.mark.parametrize("kind", ["lean_label", "lean_rating", "lean_text"])
def test_a_lean_prompt_reads_as_it_was_decided(lean_prompts: dict[str, str], kind: str) -> None:
    assert lean_prompts[kind] == golden(kind, lean_prompts[kind])


@pytest.mark.parametrize("kind", ["explain_mistake", "propose_rules"])
def test_a_prompt_by_which_rules_are_learnt_reads_as_it_was_decided(
    learning_prompts: dict[str, str], kind: str
) -> None:
    assert learning_prompts[kind] == golden(kind, learning_prompts[kind])


def golden(kind: str, prompt: str) -> str:
    """Return the prompt as it was decided, which is this one where prompts are to be written anew."""
    file = GOLDEN / f"{kind}.txt"
    if os.environ.get("PERSONAAGENT_WRITE_GOLDEN"):
        file.write_text(prompt, encoding="utf-8")
    return file.read_text(encoding="utf-8")
