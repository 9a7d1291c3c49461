"""Answering the made-up user's questions before and after alignment, and reading the difference honestly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

from ..data.alignment import Spend
from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..programs import PersonaAgent
from ..programs.spend import measure

NO_ANSWER = "(no tag)"


@dataclass(frozen=True)
class Answers:
    """What one persona version answered, in the order of the questions."""

    version: int | None
    responses: tuple[str, ...]
    golds: tuple[str, ...]
    spend: Spend

    @property
    def right(self) -> tuple[bool, ...]:
        """For each question, whether the response is the gold."""
        return tuple(response == gold for response, gold in zip(self.responses, self.golds, strict=True))


def answer_all(
    agent: PersonaAgent, questions: Sequence[Interaction], answered: Callable[[], None] = lambda: None
) -> Answers:
    """Let `agent` answer every question; `answered` is called after each."""
    responses: list[str] = []
    with measure() as meter:
        for question in questions:
            try:
                responses.append(agent(query=question.query).response)
            except AnswerError:
                responses.append(NO_ANSWER)
            answered()
    golds = tuple(question.ground_truth or "" for question in questions)
    return Answers(agent.persona_version, tuple(responses), golds, meter.spend)


@dataclass(frozen=True)
class Comparison:
    """The same questions under two persona versions."""

    won: int
    """Questions that only the later version answered right."""
    lost: int
    """Questions that only the earlier version answered right."""
    questions: int

    @property
    def p_value(self) -> float:
        """Two-sided sign test over the questions on which the versions differ."""
        differing = self.won + self.lost
        tail = sum(comb(differing, wins) for wins in range(max(self.won, self.lost), differing + 1))
        return min(1.0, 2 * tail / 2**differing)

    @property
    def reading(self) -> str:
        """One sentence on what these numbers can and cannot show."""
        return (
            f"Alignment won {self.won} and lost {self.lost} of {self.questions} questions of one made-up user "
            f"(sign test p = {self.p_value:.2f}): this shows how alignment works, not how much it helps; "
            "`personaagent evaluate` on real users does."
        )


def compare(before: Answers, after: Answers) -> Comparison:
    """Compare the answers of two persona versions to the same questions."""
    pairs = list(zip(before.right, after.right, strict=True))
    return Comparison(
        won=sum(later and not earlier for earlier, later in pairs),
        lost=sum(earlier and not later for earlier, later in pairs),
        questions=len(pairs),
    )
