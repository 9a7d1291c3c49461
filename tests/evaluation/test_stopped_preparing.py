"""A run that must stop while it prepares a program stops, and leaves no question waiting."""

import asyncio

import dspy
import pytest

from personaagent.data.errors import StoppedError
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import LampData, LampUser, task_named
from personaagent.evaluation import MajorityMethod, evaluate
from personaagent.evaluation.resources import Resources

TASK = task_named("LaMP-2M")


class Stopping(MajorityMethod):
    """Is stopped before its program is there."""

    async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
        raise StoppedError("no more calls")


@pytest.mark.parametrize("online", [False, True])
async def test_a_stop_during_a_preparation_ends_the_evaluation(online: bool) -> None:
    asked = tuple(
        Interaction(interaction_id=str(n), query=TASK.query(f"film {n}"), ground_truth=TASK.labels[0]) for n in range(3)
    )
    data = LampData(TASK, (LampUser("maya", asked[:1], asked[1:]),))
    with pytest.raises(StoppedError, match="no more calls"):
        await asyncio.wait_for(evaluate([Stopping()], data, online=online), timeout=10)
