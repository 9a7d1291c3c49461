"""DSPy's own optimizers as methods: the agent, neither aligned nor weighed, compiled for each user by so many calls."""

import os
import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, cast

import dspy
from dspy.teleprompt import Teleprompter
from pydantic import Field

from ..data.errors import SetupError
from ..data.lamp import LampUser
from ..data.task import Task
from ..optimizers import examples
from ..programs import PersonaAgent
from ..programs.module import in_thread
from ..programs.shared_decisions import sharing_decisions
from ..programs.spend import measure
from .methods import ListedMethod
from .metrics import official_metrics
from .personaagent_method import PersonaAgentMethod
from .resources import Resources

MAX_DEMOS = 4
GOOD_ENOUGH = {"label": 1.0, "rating": 1.0, "text": 0.2}
"""Least score of an answer that becomes a demo, by kind of task."""

Trainset = Sequence[dspy.Example]

_one_at_a_time = threading.Lock()


class OptimizerMethod(ListedMethod):
    """The agent without alignment and weights, compiled by a stock optimizer on the user's latest interactions.

    At most half of the interactions with a ground truth are the trainset. The first persona is made of what is older,
    and while the program is compiled its memory ends there too, so that no answer leaks; afterwards it holds the whole
    history. A user with fewer than two such interactions is answered by the agent as it is.

    Subclasses write `_compile`, which compiles with the LM of the context.
    """

    calls_per_example: ClassVar[int] = 1
    """LM calls that an example of the trainset takes, about."""

    calls: int = Field(default=40, ge=8)
    """LM calls for each user, about."""

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        """Remember the latest interaction; what was compiled stays."""
        return await PersonaAgentMethod().learn(program, user, resources)

    async def _program(self, user: LampUser, resources: Resources) -> PersonaAgent:
        known = sorted((past for past in user.history if past.ground_truth is not None), key=lambda past: past.moment)
        latest = known[len(known) - min(self.calls // self.calls_per_example, len(known) // 2) :]
        unaligned = PersonaAgentMethod(without="alignment", weights="none", n=max(1, len(latest)))
        agent = await unaligned.prepare(user, resources)
        if not latest:
            return agent
        compiled = await in_thread(self._compile, agent.as_of(latest[0]), examples(latest), resources)
        compiled.memory = agent.memory
        return compiled

    @abstractmethod
    def _compile(self, student: PersonaAgent, trainset: Trainset, resources: Resources) -> PersonaAgent: ...


class GepaMethod(OptimizerMethod):
    """GEPA (arXiv 2507.19457) rewrites the instructions; the LM that revises personas reflects."""

    kind: ClassVar[str] = "gepa"
    calls_per_example: ClassVar[int] = 5

    def _compile(self, student: PersonaAgent, trainset: Trainset, resources: Resources) -> PersonaAgent:
        from dspy.teleprompt import GEPA

        with measure() as meter:
            optimizer = GEPA(
                partial(_with_feedback, resources.task),
                max_metric_calls=self.calls,
                reflection_lm=resources.lm_of("revision") or dspy.settings.lm,
                num_threads=1,
                gepa_kwargs={"stop_callbacks": lambda _state: meter.spend.calls >= self.calls},
            )
            return _quietly(optimizer, student, trainset=trainset, valset=trainset)


class BootstrapMethod(OptimizerMethod):
    """BootstrapFewShot shows the LM its own answers that were right."""

    kind: ClassVar[str] = "bootstrap"

    def _compile(self, student: PersonaAgent, trainset: Trainset, resources: Resources) -> PersonaAgent:
        from dspy.teleprompt import BootstrapFewShot

        optimizer = BootstrapFewShot(
            partial(score, resources.task),
            metric_threshold=GOOD_ENOUGH[resources.task.kind],
            max_bootstrapped_demos=MAX_DEMOS,
            max_labeled_demos=0,
        )
        return _quietly(optimizer, student, trainset=trainset)


class ReAnchorMethod(OptimizerMethod):
    """ReAnchor fits a multiplier for each answer to the metric; the LM is asked once for each example."""

    kind: ClassVar[str] = "reanchor"
    answers_text: ClassVar[bool] = False

    def _compile(self, student: PersonaAgent, trainset: Trainset, resources: Resources) -> PersonaAgent:
        from dspy.experimental import ReAnchor

        optimizer = ReAnchor(partial(score, resources.task), num_threads=1, require_cache=False)
        with sharing_decisions(charged=False):  # weights change how answers are read, not what is asked
            return _quietly(optimizer, student, trainset=trainset)


class MiproMethod(OptimizerMethod):
    """MIPROv2 (arXiv 2406.11695) searches instructions and demos together."""

    kind: ClassVar[str] = "mipro"
    calls_per_example: ClassVar[int] = 8

    def check(self, task: Task) -> None:
        """Refuse if Optuna, which searches, is missing.

        Raises:
            SetupError: It is.
        """
        if find_spec("optuna") is None:
            raise SetupError("method mipro needs Optuna, which is not installed: pip install 'dspy[optuna]'")

    def _compile(self, student: PersonaAgent, trainset: Trainset, resources: Resources) -> PersonaAgent:
        from dspy.teleprompt import MIPROv2

        optimizer = MIPROv2(
            partial(score, resources.task),
            prompt_model=resources.lm_of("revision"),
            auto=None,
            num_candidates=2,
            max_bootstrapped_demos=MAX_DEMOS,
            max_labeled_demos=0,
            num_threads=1,
            metric_threshold=GOOD_ENOUGH[resources.task.kind],
            track_stats=False,
        )
        options = {"num_trials": 3, "minibatch": False, "program_aware_proposer": False, "data_aware_proposer": False}
        return _quietly(optimizer, student, trainset=trainset, valset=trainset, **options)


def score(task: Task, example: dspy.Example, prediction: dspy.Prediction, *_: object) -> float:
    """Return how good an answer is, 0 to 1: whether the label is right, 1 less a quarter of the error, or ROUGE-L."""
    found = official_metrics(task, [prediction.response], [example.ground_truth])
    if task.kind == "rating":
        return max(0.0, 1 - found["mae"] / 4)
    return found["accuracy" if task.kind == "label" else "rougeL"]


def _with_feedback(task: Task, example: dspy.Example, prediction: dspy.Prediction, *_: object) -> dspy.Prediction:
    feedback = f"The response was {prediction.response!r}; this user's own answer is {example.ground_truth!r}."
    return dspy.Prediction(score=score(task, example, prediction), feedback=feedback)


def _quietly(optimizer: Teleprompter, student: PersonaAgent, **inputs: Any) -> PersonaAgent:
    """Compile without what DSPy prints. Where that goes is the process's, so one program is compiled at a time."""
    with _one_at_a_time, Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return cast("PersonaAgent", optimizer.compile(student, **inputs))
