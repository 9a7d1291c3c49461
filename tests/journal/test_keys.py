"""Keys of calls stay as they are: a change to code that leaves a prompt as it was leaves a journal usable."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.task import OPEN
from personaagent.journal import AGENT, LOSS, REVISION, new_run, open_run
from personaagent.optimizers.persona_alignment import PersonaAlignment, examples
from personaagent.programs.persona_agent import AgentSettings, PersonaAgent, Preset
from personaagent.programs.scope import within
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

GOLDEN = Path(__file__).with_name("golden_keys.txt")
HISTORY = [
    Interaction(
        interaction_id=str(day),
        query=f"A film for evening {day}?",
        ground_truth="a quiet comedy",
        at=datetime(2024, 5, day, tzinfo=UTC),
    )
    for day in range(1, 7)
]


def answered(request: ScriptedRequest) -> dict[str, object]:
    fields: dict[str, object] = {"response": "a comedy", "tool": "finish", "arguments": {}, "search": "films"}
    return {name: fields.get(name, "It was right: keep.") for name in request.outputs_wanted}


@pytest.mark.parametrize("preset", ["lean", "paper"])
def test_the_same_work_has_the_same_keys_as_ever(preset: Preset) -> None:
    lm = ScriptedLM(answered)
    lm.model = "made-up/one"
    with in_memory_store() as store:
        user = store.add_user("maya")
        user.interactions.add(HISTORY)
        agent = PersonaAgent(OPEN, user.memory, tools=[], settings=AgentSettings(preset=preset))
        with (
            open_run(store.journal, new_run("golden", run_id="golden"), {AGENT: lm, LOSS: lm, REVISION: lm}),
            within("question 1", user_key=user.key),
        ):
            agent(query="A film for tonight?")
            PersonaAlignment(n=2, mode="paper" if preset == "paper" else "evidence").compile(
                agent, trainset=examples(HISTORY)
            )
        found = sorted(f"{preset} {call.role} {call.key}" for call in store.journal.calls("golden"))
    golden = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert found == [line for line in golden if line.startswith(preset)]
