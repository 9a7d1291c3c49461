"""Answering the made-up user's questions, and what the LM, the user's habits and the user's memory each said."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import dspy

from ..data.alignment import Spend
from ..data.answer_weights import AnswerWeights, Distribution, Experts, best_answer, uniform
from ..data.errors import AnswerError
from ..data.interaction import Interaction
from ..data.lamp import LampUser, load
from ..data.task import task_named
from ..programs import PersonaAgent
from ..programs.spend import measure
from ..programs.weighing import decided, experts_of

TASK = task_named("LaMP-2M")


def write_lamp_files(folder: Path) -> Path:
    """Write the made-up user as LaMP's question and output files into `folder`, and return it."""
    made_up = json.loads(resources.files("personaagent.demo").joinpath("made_up_user.json").read_text(encoding="utf-8"))
    profile = [{"id": f"1{index}", **item} for index, item in enumerate(made_up["history"])]
    questions = [
        {
            "id": str(100 + index),
            "input": TASK.query(question["description"]),
            "profile": profile,
            "user_id": made_up["user_id"],
            "date": question["date"],
        }
        for index, question in enumerate(made_up["questions"])
    ]
    golds = [{"id": str(100 + index), "output": question["tag"]} for index, question in enumerate(made_up["questions"])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "questions.json").write_text(json.dumps(questions, indent=1), encoding="utf-8")
    (folder / "outputs.json").write_text(json.dumps({"task": "LaMP_2", "golds": golds}, indent=1), encoding="utf-8")
    return folder


def made_up_user(folder: Path) -> LampUser:
    """Write the made-up user's files into `folder` and load them as any LaMP data is loaded."""
    [user] = load(write_lamp_files(folder), TASK).users
    return user


NO_ANSWER = "(no tag)"


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
    """What one persona version answered, in the order of the questions."""

    version: int | None
    answers: tuple[Answer, ...]
    spend: Spend

    @property
    def right(self) -> int:
        """How many responses are right."""
        return sum(one.response == one.gold for one in self.answers)

    @property
    def right_alone(self) -> int:
        """How many the LM alone had right."""
        return sum(one.lm == one.gold for one in self.answers)

    @property
    def reading(self) -> str:
        """What these numbers can and cannot show."""
        asked = len(self.answers)
        return (
            f"The LM alone had {self.right_alone} of {asked} right, the agent {self.right}. So few questions of one "
            "made-up user prove nothing: they show how an answer comes about. `personaagent evaluate` on real users "
            "says what it is worth."
        )


def answer_all(
    agent: PersonaAgent, questions: Sequence[Interaction], answered: Callable[[], None] = lambda: None
) -> Answers:
    """Let `agent` answer every question; `answered` is called after each."""
    answers: list[Answer] = []
    with measure() as meter:
        for question in questions:
            answers.append(_answer(agent, question))
            answered()
    return Answers(agent.persona_version, tuple(answers), meter.spend)


def _answer(agent: PersonaAgent, question: Interaction) -> Answer:
    task = agent.task
    try:
        said = agent(query=question.query)
    except AnswerError:
        said = dspy.Prediction(response=NO_ANSWER, lm_probabilities=None, experts=None)
    told: Distribution | None = said.lm_probabilities
    experts: Experts = said.experts or _experts(agent, question, told or uniform(task.labels))
    return Answer(
        question=task.content(question.query),
        lm=decided(task, told, {}).response if told else said.response,
        habits=best_answer(experts.prior, task.rewards),
        memory=best_answer(experts.memory, task.rewards),
        response=said.response,
        gold=question.ground_truth or "",
    )


def _experts(agent: PersonaAgent, question: Interaction, told: Distribution) -> Experts:
    """Return what the experts say where no weights are live, so that none is listened to but the LM."""
    evenly = uniform(agent.task.labels)
    weights = AnswerWeights(lm="", task=agent.task.name, form=agent.settings.form, leaning=evenly, base_rate=evenly)
    recalled = agent.recall_memory(query=agent.task.content(question.query), memory=agent.memory)
    return experts_of(told, weights, recalled.answered)
