"""Which interactions an alignment simulates."""

from collections.abc import Sequence
from typing import Protocol

from ..data.errors import InputError
from ..data.interaction import Interaction


class Sampling(Protocol):
    """Chooses the batch of one iteration."""

    def sample(self, interactions: Sequence[Interaction], n: int) -> tuple[Interaction, ...]:
        """Return at most `n` of `interactions`, oldest first; every one has a ground truth.

        Raises:
            InputError: None of them has a ground truth, so there is nothing to align with.
        """
        ...


class LatestInteractions:
    """The latest n interactions, as the paper's abstract says."""

    def sample(self, interactions: Sequence[Interaction], n: int) -> tuple[Interaction, ...]:
        """Return the `n` latest by date and position."""
        known = [interaction for interaction in interactions if interaction.ground_truth is not None]
        if not known:
            raise InputError(
                f"none of the {len(interactions)} interactions has a ground truth: there is nothing to align with"
            )
        return tuple(sorted(known, key=lambda interaction: interaction.moment)[-n:])
