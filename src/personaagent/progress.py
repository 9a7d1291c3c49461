"""How far long work has come: one bar on standard error, in a terminal or in a notebook, and nowhere else."""

import copy
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

if TYPE_CHECKING:
    from .optimizers.events import AlignmentEvent
    from .optimizers.persona_alignment import PersonaAlignment

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tabs and line breaks, and what turns the direction of writing round."""


class Terminal(Console):
    """A console on which text cannot act: users and LMs may have written it, and terminals obey control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is to be shown, without control characters in it."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else _CONTROLS.sub("", text), style, control)


_in_notebook = Console().is_jupyter
# As in a terminal, a notebook overwrites a line that begins anew: no widgets are needed.
err = Terminal(
    highlight=False,
    markup=False,
    emoji=False,
    stderr=True,
    force_jupyter=False,
    force_terminal=True if _in_notebook else None,
)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar for long work, by default counting steps; it is gone when the work is done."""
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    steps = (SpinnerColumn(), described(), BarColumn(), MofNCompleteColumn(), *times)
    return Progress(
        *(columns or steps),
        console=err,
        transient=True,
        disable=not err.is_terminal,
        refresh_per_second=2 if _in_notebook else 10,
    )


def described() -> TextColumn:
    """Return the column that says what is done."""
    return TextColumn("{task.description}", markup=False)


@contextmanager
def following(optimizer: "PersonaAlignment", users: int = 1) -> "Generator[PersonaAlignment]":
    """Give a copy of an optimizer whose steps for so many users are shown, and told to its own listener as before.

    The steps of a user are n simulations and the end; in the paper, n critiques too, in each iteration.
    """
    n, own = optimizer.n, optimizer.listener
    steps = optimizer.iterations * (2 * n + 1) if optimizer.mode == "paper" else n + 1
    followed = copy.copy(optimizer)
    with progress_bar() as progress:
        bar = progress.add_task("aligning", total=users * steps)

        def advance(event: "AlignmentEvent") -> None:
            progress.update(bar, advance=1, description=type(event).__name__)
            if own is not None:
                own(event)

        followed.listener = advance
        yield followed
