"""What an alignment tells while it runs. Listeners look on; nothing that they do changes the result."""

from collections.abc import Callable
from dataclasses import dataclass

from ..data.alignment import Iteration, TextualLoss
from ..data.interaction import Interaction


@dataclass(frozen=True)
class Simulated:
    """An interaction was answered again."""

    interaction: Interaction
    response: str | None


@dataclass(frozen=True)
class LossMeasured:
    """A simulated response was criticised."""

    loss: TextualLoss


@dataclass(frozen=True)
class IterationEnded:
    """A candidate was accepted or rejected."""

    number: int
    """1 for the first iteration."""
    iteration: Iteration


AlignmentEvent = Simulated | LossMeasured | IterationEnded
Listener = Callable[[AlignmentEvent], None]
