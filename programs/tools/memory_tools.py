"""The user's own memory as tools. The memory is bound here: no tool takes a user id."""

from collections.abc import Sequence

import dspy

from ...data.statement import Episode, Memory
from ...data.task import Task
from ..quoting import quoted_interactions, quoted_texts


def memory_tools(memory: Memory, task: Task, k: int, known: Sequence[Episode] = ()) -> list[dspy.Tool]:
    """Return the tools `search_memory` and `look_up_profile` over one user's memory.

    Args:
        memory: What may be seen; masked during a simulation.
        task: Tells the content of a query from the fixed words around it.
        k: Number of interactions that a search returns.
        known: Episodes that a search need not return again.
    """
    seen = {episode.interaction.interaction_id for episode in known}

    def search_memory(search: str) -> str:
        """Find further past interactions of this user that are near in meaning to a few search words."""
        found = [episode.interaction for episode in memory.recall(search, k + len(seen))]
        return quoted_interactions([one for one in found if one.interaction_id not in seen][:k], task)

    def look_up_profile() -> str:
        """Read what is known about this user from all past interactions."""
        return quoted_texts(statement.text for statement in memory.statements())

    return [dspy.Tool(search_memory), dspy.Tool(look_up_profile)]
