"""Every prompt of the baselines, whole, as the LM gets it. See `test_prompts` for how a changed one is written anew.

PERSONAAGENT_WRITE_GOLDEN=1 pytest tests/signatures
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import dspy
import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.task import task_named
from personaagent.programs.baselines.membank import BuildMemoryBank, MemBank
from personaagent.programs.baselines.prompted import Icl, Pag, ProfileSummary
from personaagent.programs.baselines.react import React
from personaagent.programs.baselines.retrievers import Bm25Retriever
from personaagent.testing import HashEmbedder, ScriptedLM

GOLDEN = Path(__file__).with_name("golden")
TASK = task_named("LaMP-2M")
FILMS = (
    ("A made-up lighthouse keeper falls in love.", "classic"),
    ("A made-up robot cleans a space station.", "social commentary"),
    ("A made-up ghost haunts a tax inspector.", "dark comedy"),
)
HISTORY = [
    Interaction(
        interaction_id=f"film-{number}",
        query=TASK.query(plot),
        ground_truth=tag,
        at=datetime(2024, 1, 1 + number // 2, tzinfo=UTC),
        position=number,
        task=TASK.name,
    )
    for number, (plot, tag) in enumerate(FILMS)
]
QUERY = TASK.query("A made-up dragon hatches in a barn.")
STEPS = [
    {"thought": "Who is the dragon?", "action": "search", "argument": "Dragon"},
    {"thought": "It is a dog.", "action": "finish", "argument": "comedy"},
]


def encyclopedia(entity: str) -> str:
    return f"{entity} is a made-up dog. It barks.\nIt hatches."


@pytest.fixture(scope="module")
def prompts() -> dict[str, str]:
    """Return one prompt of each kind, its last one where there are several."""
    lm = ScriptedLM({"summary": "Made-up films at sea.", "response": "comedy"})
    react = ScriptedLM(STEPS)
    embedder = HashEmbedder()
    with dspy.context(lm=lm):
        Icl(TASK, HISTORY)(query=QUERY)
        summary = ProfileSummary(TASK)(history=HISTORY).summary
        Pag(TASK, summary, Bm25Retriever(HISTORY, TASK), k=1)(query=QUERY)
        bank = BuildMemoryBank(TASK, embedder)(history=HISTORY).bank
        MemBank(TASK, bank, embedder, k=3)(query=QUERY)
    with dspy.context(lm=react):
        React(TASK, dspy.Tool(encyclopedia))(query=QUERY)
    kinds = ("icl", "profile_summary", "pag", "memory_events", "memory_personality", *["later"] * 4, "membank")
    asked = [*zip(kinds, lm.requests, strict=True), ("react_step", react.requests[-1])]
    return {kind: f"{request.system}\n\n=== user\n{request.user}\n" for kind, request in asked}


@pytest.mark.parametrize(
    "kind", ["icl", "profile_summary", "pag", "memory_events", "memory_personality", "membank", "react_step"]
)
def test_a_prompt_reads_as_it_was_decided(prompts: dict[str, str], kind: str) -> None:
    golden = GOLDEN / f"{kind}.txt"
    if os.environ.get("PERSONAAGENT_WRITE_GOLDEN"):
        golden.write_text(prompts[kind], encoding="utf-8")
    assert prompts[kind] == golden.read_text(encoding="utf-8")
