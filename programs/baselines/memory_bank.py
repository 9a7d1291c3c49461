"""A memory bank: pieces of a user's past that grow stronger when they are recalled, and are forgotten with time.

Source: MemoryBank (Zhong et al., arXiv 2305.10250; zhongwanjun/MemoryBank-SiliconFriend), re-implemented. No LM here.
"""

import math
import random
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from ...data.interaction import Interaction
from ...data.nouns import Noun

Forgetting = Literal["published", "corrected"]
"""How strength acts on forgetting.

`published`: exp(-t * S / 5), as the code computes it: what was recalled fades faster. `corrected`: exp(-t / (5 * S)),
as the paper means it: what was recalled lasts longer. As long as nothing was recalled (S = 1) they agree.
"""

_FADING_DAYS = 5.0


class Piece(Noun):
    """Something to remember: a turn, or the summary of a day."""

    text: str
    """By which it is found."""
    shown: str
    """How it stands in a prompt, quoted."""
    day: int
    """When it was written."""
    strength: int = Field(default=1, ge=1)
    """1, and 1 more for each recall."""
    recalled_on: int | None = None
    """The day of its last recall; None if there was none."""

    def age(self, today: int) -> int:
        """Return the days since it was written or last recalled."""
        return today - (self.day if self.recalled_on is None else self.recalled_on)

    def recalled(self, day: int) -> "Piece":
        """Return this piece as a recall leaves it: stronger, and as if it were new."""
        return self.model_copy(update={"strength": self.strength + 1, "recalled_on": day})


class MemoryBank(Noun):
    """What is remembered of one user."""

    events: str
    """Overall summary of what happened; empty if the LM wrote none."""
    personality: str
    """Overall analysis of what the user is like; empty if the LM wrote none."""
    pieces: tuple[Piece, ...]
    """The turns, oldest first, then the days' summaries, oldest first; without those that were forgotten."""


def retention(days: float, strength: int, forgetting: Forgetting) -> float:
    """Return the probability that a piece is still remembered.

    Args:
        days: Since it was written or last recalled, at least 0.
        strength: At least 1.
        forgetting: How strength acts.

    Returns:
        1 at 0 days, falling towards 0.

    Source: `forgetting_curve` in MemoryBank's code, and section 2.3 of arXiv 2305.10250.
    """
    if forgetting == "published":
        return math.exp(-days * strength / _FADING_DAYS)
    return math.exp(-days / (_FADING_DAYS * strength))


def remembered(pieces: Iterable[Piece], today: int, forgetting: Forgetting, seed: int) -> tuple[Piece, ...]:
    """Return the pieces that are still remembered today: each stays with the probability of its retention.

    Args:
        pieces: Written on this day or earlier.
        today: The day on which the bank is opened.
        forgetting: How strength acts.
        seed: Decides chance; each piece draws once, in order, whatever became of the others.
    """
    chance = random.Random(seed)
    return tuple(
        piece for piece in pieces if chance.random() <= retention(piece.age(today), piece.strength, forgetting)
    )


def rehearsed(
    turns: Sequence[Piece], summaries: Sequence[Piece], likeness: Sequence[Sequence[float]], k: int
) -> tuple[Piece, ...]:
    """Return the pieces as the user's own past left them: each turn, when it came, recalled the k most alike before it.

    Args:
        turns: Oldest first.
        summaries: Of days; one can be recalled from the next day on.
        likeness: How alike what each turn asks (rows) and each piece (columns: turns, then summaries) are.
        k: How many are recalled, at most.

    Returns:
        The turns, then the summaries.
    """
    pieces = [*turns, *summaries]
    for place, turn in enumerate(turns):
        yesterday = (index for index in range(len(turns), len(pieces)) if pieces[index].day < turn.day)
        for index in nearest(likeness[place], [*range(place), *yesterday], k):
            pieces[index] = pieces[index].recalled(turn.day)
    return tuple(pieces)


def nearest(likeness: Sequence[float], among: Iterable[int], k: int) -> list[int]:
    """Return at most `k` of the indices `among`, the most alike first; of equals the last first."""
    return sorted(among, key=lambda index: (likeness[index], index), reverse=True)[:k]


def by_day(history: Sequence[Interaction]) -> dict[int, tuple[Interaction, ...]]:
    """Return the interactions of each day, oldest first.

    A day is a number: days between two are counted by subtraction. Without dates, each interaction has its own day.

    Args:
        history: Oldest first.
    """
    dates = [interaction.at for interaction in history]
    known = [date.toordinal() for date in dates if date is not None]
    numbers = known if len(known) == len(dates) else range(len(dates))
    days: dict[int, tuple[Interaction, ...]] = {}
    for number, interaction in sorted(zip(numbers, history, strict=True), key=lambda pair: pair[0]):
        days[number] = (*days.get(number, ()), interaction)
    return days
