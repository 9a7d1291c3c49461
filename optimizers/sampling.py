"""Which interactions an alignment simulates."""

from collections.abc import Sequence

from ..data.errors import InputError
from ..data.interaction import Interaction


def latest(interactions: Sequence[Interaction], n: int) -> tuple[Interaction, ...]:
    """Return the latest `n` interactions with a ground truth, oldest first, as the paper's abstract says.

    Raises:
        InputError: None of them has a ground truth, so there is nothing to align with.
    """
    known = [interaction for interaction in interactions if teaches(interaction)]
    if not known:
        raise InputError(
            f"none of the {len(interactions)} interactions has a ground truth: there is nothing to align with"
        )
    return tuple(sorted(known, key=lambda interaction: interaction.moment)[-n:])


def teaches(interaction: Interaction) -> bool:
    """Whether a persona may learn from an interaction: its ground truth is known, and no tool brought it."""
    return interaction.ground_truth is not None and interaction.source != "tool"
