"""What becomes of an alignment of a live persona that is cancelled, and of the first of one's own ratings."""

import asyncio
import threading

import dspy
import pytest

from personaagent.certificates import Certificates
from personaagent.data.interaction import Interaction
from personaagent.data.task import Task
from personaagent.optimizers import PersonaAlignment
from personaagent.personas import aalign, align, live_persona
from personaagent.programs import AgentSettings
from personaagent.testing import ScriptedLM, in_memory_store


async def test_an_alignment_that_is_cancelled_in_its_last_call_records_nothing() -> None:
    rewriting, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def profile(_: object) -> list[str]:
        loop.call_soon_threadsafe(rewriting.set)
        released.wait(5)
        return ["Loves quiet films."]

    lm = ScriptedLM(
        {
            "search": "films",
            "response": "it was fine",
            "critique": "Say more.",
            "statements": ["Made up."],
            "profile": profile,
            "preferences": ["Prefers old films."],
            "tool_use": ["Use tools."],
            "style": ["Answer briefly."],
        }
    )
    with in_memory_store() as store, dspy.context(lm=lm):
        user = store.add_user("maya")
        known = [Interaction(interaction_id=name, query="A film?", ground_truth="a quiet one") for name in "1234"]
        user.interactions.add(known)
        before = live_persona(user)
        optimizer = PersonaAlignment(mode="paper")
        work = asyncio.create_task(aalign(user, optimizer, settings=AgentSettings(action=False)))
        await asyncio.wait({work, asyncio.create_task(rewriting.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert rewriting.is_set()
        work.cancel()
        await asyncio.sleep(0)
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert live_persona(user) == before
        assert user.alignments.all() == ()


@pytest.mark.parametrize(("model", "outcome"), [("qwen2.5-coder-1.5b", "live"), ("smollm2", "shadow")])
def test_the_first_alignment_of_ones_own_ratings_makes_answer_weights(model: str, outcome: str) -> None:
    task = Task(name="own stars", kind="rating", labels=("1", "2", "3", "4", "5"))
    lm = ScriptedLM({"response": "3"}, model=f"embedded/{model}")
    with in_memory_store() as store, dspy.context(lm=lm):
        store.add_task(task)
        user = store.add_user("maya")
        user.interactions.add(
            [
                Interaction(interaction_id=name, query=f"made-up film {name}", ground_truth="5", task=task.name)
                for name in "123456"
            ]
        )
        alignment, versions = align(user, PersonaAlignment(n=3), certificates=Certificates(store))
        [decision] = alignment.decisions
        assert (decision.change.kind, decision.outcome) == ("weights", outcome)
        assert decision.evidence.mean > 0
        assert len(versions) == (outcome == "live")
        again, _ = align(user, PersonaAlignment(n=3), certificates=Certificates(store))
        assert len(lm.requests) == 3, "what was simulated once is not simulated again"
        assert [decision.outcome for decision in again.decisions] == [outcome]
