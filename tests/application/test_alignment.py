"""What becomes of an alignment of a live persona that is cancelled."""

import asyncio
import threading

import dspy
import pytest

from personaagent.data.interaction import Interaction
from personaagent.optimizers import PersonaAlignment
from personaagent.personas import aalign, live_persona
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
