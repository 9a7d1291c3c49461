"""MemBank: the query, and what a bank of memories holds that is near to it."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import dspy
from pydantic import Field

from ...data.errors import AnswerError, InputError
from ...data.interaction import Interaction
from ...data.memory.embedder import Embedder
from ...data.nouns import Noun
from ...data.task import Task
from ...signatures import AnalysePersonality, SummariseEvents
from ..module import Module, ask
from ..quoting import quoted, quoted_block, quoted_interactions, quoted_texts
from ..respond import Respond
from ..scope import within
from .lamp_texts import search_text, shown_items

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
    """Return the probability that a piece is still remembered so many days after it was written or last recalled.

    Source: `forgetting_curve` in MemoryBank's code, and section 2.3 of arXiv 2305.10250.
    """
    if forgetting == "published":
        return math.exp(-days * strength / _FADING_DAYS)
    return math.exp(-days / (_FADING_DAYS * strength))


def remembered(pieces: Iterable[Piece], today: int, forgetting: Forgetting, seed: int) -> tuple[Piece, ...]:
    """Return the pieces, none of them newer than today, that are still remembered: by chance, as their retention says.

    The seed decides chance; each piece draws once, in order, whatever became of the others.
    """
    chance = random.Random(seed)
    return tuple(
        piece for piece in pieces if chance.random() <= retention(piece.age(today), piece.strength, forgetting)
    )


def rehearsed(
    turns: Sequence[Piece], summaries: Sequence[Piece], likeness: Sequence[Sequence[float]], k: int
) -> tuple[Piece, ...]:
    """Return turns, then summaries, as the user's past left them: each turn, when it came, recalled the k most alike.

    Args:
        turns: Oldest first.
        summaries: Of days; one can be recalled from the next day on.
        likeness: How alike what each turn asks (rows) and each piece (columns: turns, then summaries) are.
        k: How many are recalled, at most.
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
    """Return the interactions of each day, oldest first, as the history is.

    A day is a number: days between two are counted by subtraction. Without dates, each interaction has its own day.
    """
    dates = [interaction.at for interaction in history]
    known = [date.toordinal() for date in dates if date is not None]
    numbers = known if len(known) == len(dates) else range(len(dates))
    days: dict[int, tuple[Interaction, ...]] = {}
    for number, interaction in sorted(zip(numbers, history, strict=True), key=lambda pair: pair[0]):
        days[number] = (*days.get(number, ()), interaction)
    return days


_TURNS_OF_A_DAY = 40
"""Of a longer day, its summary reads the latest."""
_SUMMARY_WORDS = 100


class BuildMemoryBank(Module):
    """Turn a history into a memory bank: 2 LM calls for each summarised day, and 2 for the whole.

    Source: MemoryBank (arXiv 2305.10250), "MemBank" in the paper (arXiv 2506.06254), which does not say how it was
    brought to LaMP. Ours: an interaction is a turn and its date the day; without dates, each has its own day.

    1. Each of the latest `days` days gets a summary of events and an analysis of personality; then each all of these.
    2. The turns and the summaries of events become pieces. Each turn, in its time, recalls the k nearest earlier ones,
       which makes them stronger, as talking with the published system does.
    3. The bank is opened on the last day of the history: each piece is kept or forgotten, once. After that nothing
       changes it, so that a question's answer does not depend on which others were asked before.

    Forgetting is in calendar days, as published: of a history over years little more is left than the last day and what
    it recalled. The published code has a switch for forgetting, which is off by default (`utils/sys_args.py`).

    Args:
        task: What the interactions are about.
        embedder: Compares pieces by meaning.
        days: How many days are summarised, at most; the turns of all days are remembered. The default keeps a history
            of 100 days at 18 calls, where the published system would make 202.
        k: How many pieces a turn recalls (published: 6).
        forgetting: How strength acts on forgetting; None for a bank that keeps everything.
        seed: Decides what is forgotten.
    """

    def __init__(
        self,
        task: Task,
        embedder: Embedder,
        *,
        days: int = 8,
        k: int = 6,
        forgetting: Forgetting | None = "published",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if days < 1 or k < 1:
            raise InputError(f"days is {days} and k is {k}: a memory bank needs at least 1 of each")
        self.task, self.embedder = task, embedder
        self.days, self.k, self.seed = days, k, seed
        self.forgetting: Forgetting | None = forgetting
        self.events, self.personality = _Summary(SummariseEvents), _Summary(AnalysePersonality)

    def forward(self, *, history: Sequence[Interaction]) -> dspy.Prediction:
        """Summarise each day of the history, oldest first, then the whole; rehearse; forget.

        The prediction has the `bank` (`MemoryBank`). A summary that could not be read is left out.

        Raises:
            InputError: There is no history.
        """
        if not history:
            raise InputError("a memory bank is built from a history, and this user has none")
        days = by_day(history)
        summaries: dict[int, str] = {}
        analyses: list[str] = []
        for day in list(days)[-self.days :]:
            turns = quoted_interactions(days[day][-_TURNS_OF_A_DAY:], self.task)
            summaries[day], analysis = self._summarised(f"day {day}", turns, turns)
            analyses.append(analysis)
        events, personality = self._summarised("all days", _listed(summaries.values()), _listed(analyses))
        pieces = self._pieces(days, summaries)
        if self.forgetting:
            pieces = remembered(pieces, max(days), self.forgetting, self.seed)
        return dspy.Prediction(bank=MemoryBank(events=events, personality=personality, pieces=pieces))

    def _summarised(self, place: str, events: str, personality: str) -> tuple[str, str]:
        with within(place, "events"):
            happened = self.events(record=events)
        with within(place, "personality"):
            like = self.personality(record=personality)
        return happened.summary, like.summary

    def _pieces(self, days: Mapping[int, Sequence[Interaction]], summaries: Mapping[int, str]) -> tuple[Piece, ...]:
        turns = [_turn(item, day, self.task) for day, items in days.items() for item in items]
        written = [
            Piece(text=summary, shown=quoted(summary, _SUMMARY_WORDS), day=day)
            for day, summary in summaries.items()
            if summary
        ]
        asked = [search_text(item.query, self.task) for items in days.values() for item in items]
        likeness = self.embedder.embed(asked) @ self.embedder.embed([piece.text for piece in (*turns, *written)]).T
        return rehearsed(turns, written, likeness.tolist(), self.k)


class MemBank(Module):
    """Answer from the overall summaries of a memory bank and the k pieces nearest to the query, under no persona.

    Source: MemoryBank (arXiv 2305.10250). Its code joins neighbouring pieces of one day up to 200 characters; items of
    LaMP are longer than that as a rule, so here each stands alone. Answering changes nothing in the bank.

    Args:
        task: What is asked and in which form the answer comes.
        bank: What `BuildMemoryBank` made of the user's history.
        embedder: Compares by meaning (published: all-MiniLM-L6-v2, which is our embedded one).
        k: How many pieces are recalled, at most (published: 6).

    Example:
        >>> bank = BuildMemoryBank(task, embedder)(history=user.history).bank
        >>> MemBank(task, bank, embedder)(query=user.questions[0].query).response
        'classic'
    """

    def __init__(self, task: Task, bank: MemoryBank, embedder: Embedder, k: int = 6) -> None:
        super().__init__()
        if k < 1:
            raise InputError(f"k is {k}: MemBank needs at least 1 memory")
        self.task, self.bank, self.embedder, self.k = task, bank, embedder, k
        self.vectors = embedder.embed([piece.text for piece in bank.pieces])
        self.respond = Respond(task)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Recall, respond; the prediction also has the `pieces`, nearest first."""
        likeness = (self.vectors @ self.embedder.embed([search_text(query, self.task)])[0]).tolist()
        pieces = tuple(self.bank.pieces[index] for index in nearest(likeness, range(len(likeness)), self.k))
        known = _remembered_text(self.bank, pieces)
        answered = self.respond(query=query, interactions=known, observations=quoted_texts(()))
        return dspy.Prediction(**answered, pieces=pieces)


class _Summary(Module):
    """A summary, empty if it could not be read: one bad day does not spoil the bank."""

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.predict = dspy.Predict(signature)

    def forward(self, *, record: str) -> dspy.Prediction:
        try:
            written = ask(self.predict, record=record)
        except AnswerError:
            return dspy.Prediction(summary="")
        return dspy.Prediction(summary=written.summary.strip())


def _turn(item: Interaction, day: int, task: Task) -> Piece:
    said = f"{task.content(item.query)} {item.ground_truth or ''}".strip()
    return Piece(text=said, shown=shown_items([item], task), day=day)


def _listed(texts: Iterable[str]) -> str:
    return "\n".join(quoted(text, _SUMMARY_WORDS) for text in texts if text) or quoted_texts(())


def _remembered_text(bank: MemoryBank, pieces: Sequence[Piece]) -> str:
    memories = "\n".join(f"{number}. {piece.shown}" for number, piece in enumerate(pieces, 1)) or quoted_texts(())
    return (
        f"summary of the user's past:\n{quoted_block(bank.events or 'nothing')}\n"
        f"the user's personality:\n{quoted_block(bank.personality or 'nothing')}\n"
        f"memories near to the query:\n{memories}"
    )
