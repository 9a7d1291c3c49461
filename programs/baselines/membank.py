"""MemBank: the query, and what a bank of memories holds that is near to it."""

from collections.abc import Iterable, Mapping, Sequence

import dspy

from ...data.errors import AnswerError, InputError
from ...data.interaction import Interaction
from ...data.memory.embedder import Embedder
from ...data.task import Task
from ...signatures import AnalysePersonality, SummariseEvents
from ..module import Module, ask
from ..quoting import quoted, quoted_block, quoted_interactions, quoted_texts
from ..respond import Respond
from ..scope import within
from .lamp_texts import search_text, shown_items
from .memory_bank import Forgetting, MemoryBank, Piece, by_day, nearest, rehearsed, remembered

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

    Raises:
        InputError: `days` or `k` is less than 1.
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
        """Summarise each day, then the whole; rehearse; forget.

        Args:
            history: The user's past interactions, oldest first.

        Returns:
            A prediction with the `bank` (`MemoryBank`) and `spend`. A summary that could not be read is left out.

        Raises:
            InputError: There is no history.
            LMError: The LM failed.
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

    Raises:
        InputError: `k` is less than 1.

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
        """Recall, respond.

        Returns:
            A prediction with `response` (str), `pieces` (nearest first) and `spend`.

        Raises:
            AnswerError: The LM did not answer in the task's form.
            LMError: The LM failed.
        """
        pieces = self._recalled(query)
        known = _remembered_text(self.bank, pieces)
        answered = self.respond(query=query, interactions=known, observations=quoted_texts(()))
        return dspy.Prediction(**answered, pieces=pieces)

    def _recalled(self, query: str) -> tuple[Piece, ...]:
        likeness = (self.vectors @ self.embedder.embed([search_text(query, self.task)])[0]).tolist()
        return tuple(self.bank.pieces[index] for index in nearest(likeness, range(len(likeness)), self.k))


class _Summary(Module):
    """One summary, empty if it could not be read: one bad day does not spoil the bank."""

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
