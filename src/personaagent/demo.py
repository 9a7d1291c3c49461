"""A made-up user whose taste is unlike the general opinion: the demo's and the quickstart's.

Beside each answer stands what the LM, the user's habits and the user's memory each said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from .data.alignment import Spend

if TYPE_CHECKING:
    from .data.answer_weights import Distribution, Experts
    from .data.interaction import Interaction
    from .data.lamp import LampUser
    from .programs import PersonaAgent

_TASK = "LaMP-2M"
_NO_ANSWER = "(no tag)"


@dataclass(frozen=True)
class Answer:
    """One question, and what was said to it."""

    question: str
    lm: str
    """What the LM alone says, in the same call."""
    habits: str
    """What the user answers most often."""
    memory: str
    """What the user answered to questions like this one."""
    response: str
    """The answer that is given."""
    gold: str
    """What the user really said."""


@dataclass(frozen=True)
class Answers:
    """What was answered, in the order of the questions."""

    answers: tuple[Answer, ...]
    spend: Spend

    @property
    def right(self) -> int:
        """How many responses are right."""
        return sum(answer.response == answer.gold for answer in self.answers)

    @property
    def right_alone(self) -> int:
        """How many the LM alone had right."""
        return sum(answer.lm == answer.gold for answer in self.answers)

    @property
    def reading(self) -> str:
        """What these numbers can and cannot show."""
        return (
            f"The LM alone had {self.right_alone} of {len(self.answers)} right, the agent {self.right}. So few "
            "questions of one made-up user prove nothing: they show how an answer comes about. `personaagent evaluate` "
            "on real users says what it is worth."
        )


def write_lamp_files(folder: Path) -> Path:
    """Write the made-up user as LaMP's question and output files into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("questions.json", "outputs.json"):
        copyfile(Path(__file__).with_name(f"made_up_{name}"), folder / name)
    return folder


def made_up_user(folder: Path) -> "LampUser":
    """Write the made-up user's files into `folder` and load them as any LaMP data is loaded."""
    from .data.lamp import load
    from .data.task import task_named

    [user] = load(write_lamp_files(folder), task_named(_TASK)).users
    return user


def answer_all(
    agent: "PersonaAgent", questions: "Sequence[Interaction]", answered: Callable[[], None] = lambda: None
) -> Answers:
    """Let `agent` answer every question; `answered` is called after each."""
    from .programs.scope import measure

    answers: list[Answer] = []
    with measure() as meter:
        for question in questions:
            answers.append(_answer(agent, question))
            answered()
    return Answers(tuple(answers), meter.spend)


def _answer(agent: "PersonaAgent", question: "Interaction") -> Answer:
    import dspy

    from .data.answer_weights import best_answer, uniform
    from .data.errors import AnswerError
    from .programs.weighing import decided

    task = agent.task
    try:
        prediction = agent(query=question.query)
    except AnswerError:
        prediction = dspy.Prediction(response=_NO_ANSWER, lm_probabilities=None, experts=None)
    of_the_lm: Distribution | None = prediction.lm_probabilities
    experts: Experts = prediction.experts or _experts(agent, question, of_the_lm or uniform(task.labels))
    return Answer(
        question=task.content(question.query),
        lm=decided(task, of_the_lm, {}).response if of_the_lm else prediction.response,
        habits=best_answer(experts.prior, task.rewards),
        memory=best_answer(experts.memory, task.rewards),
        response=prediction.response,
        gold=question.ground_truth or "",
    )


def _experts(agent: "PersonaAgent", question: "Interaction", of_the_lm: "Distribution") -> "Experts":
    """Return what the experts say where no weights are live, so that only the LM is listened to."""
    from .data.answer_weights import AnswerWeights, uniform
    from .programs.weighing import experts_of

    evenly = uniform(agent.task.labels)
    weights = AnswerWeights(lm="", task=agent.task.name, form=agent.settings.form, leaning=evenly, base_rate=evenly)
    recalled = agent.recall_memory(query=agent.task.content(question.query), memory=agent.memory)
    return experts_of(of_the_lm, weights, recalled.answered)
