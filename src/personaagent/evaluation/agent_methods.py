"""The whole system as a method, with its ablations; and DSPy's own optimizers of its agent as methods."""

import asyncio
import os
import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import dspy
from dspy.teleprompt import Teleprompter
from pydantic import Field

from ..data.errors import InputError, SetupError
from ..data.interaction import Interaction
from ..data.lamp import LampUser
from ..data.persona import Persona, PersonaVersion
from ..data.store import User, user_key
from ..data.task import Task
from ..optimizers import PersonaAlignment, examples, initial_persona, latest
from ..personas import Certified, equipped, first_persona, program
from ..programs import AgentSettings, PersonaAgent
from ..programs.decision_lm import sharing_decisions
from ..programs.module import in_thread
from ..programs.scope import measure
from ..programs.tools.own import tools_named
from .methods import ListedMethod, WeighedMethod
from .metrics import official_metrics
from .resources import Resources

MAX_DEMOS = 4
GOOD_ENOUGH = {"label": 1.0, "rating": 1.0, "text": 0.2}
"""Least score of an answer that becomes a demo, by kind of task."""

Trainset = Sequence[dspy.Example]

_one_at_a_time = threading.Lock()


class PersonaAgentMethod(WeighedMethod):
    """PersonaAgent: memory and persona, aligned with each user's history, then the questions.

    What each ablation takes away: `alignment` leaves the first persona, with weights; `lines` leaves weights alone;
    `weights` leaves lines alone; `votes` leaves weights that do not ask memory; `memory` leaves neither examples nor
    votes; `persona` leaves neither lines nor weights; `action` (paper only) leaves recall and the answer. The alignment
    of an ablation is one of the ablated agent.

    Source: arXiv 2506.06254; `preset=paper` is its algorithm, with the ablations of its table.
    """

    kind: ClassVar[str] = "personaagent"
    weights: Literal["none", "user", "global"] = "user"
    without: Literal["alignment", "persona", "lines", "weights", "votes", "memory", "action"] | None = None
    """What is taken away."""
    preset: Literal["lean", "paper"] = "lean"
    """`paper`: three modules that ask the LM, and a whole rewrite that is always accepted."""
    n: int = Field(default=3, ge=1)
    """Interactions in an alignment batch."""
    iterations: int = Field(default=1, ge=1)
    """Paper only: rounds of alignment (E in the paper)."""
    k: int = Field(default=4, ge=1)
    """Episodes recalled for a query."""
    tool: str | None = None
    """`module:function` of one's own, which answers in text may use."""

    @property
    def form(self) -> str:
        """Names what the prompts hold."""
        return self._settings.form

    @property
    def is_weighed(self) -> bool:
        """Whether answers are weighed."""
        return self.preset == "lean" and self.weights != "none" and self.without not in {"weights", "persona"}

    @property
    def votes(self) -> bool:
        """Whether the user's memory votes."""
        return self.personal and self._settings.votes

    @property
    def _settings(self) -> AgentSettings:
        has_memory = self.without != "memory"
        return AgentSettings(
            preset=self.preset,
            k=self.k,
            memory=has_memory,
            action=self.without != "action",
            lines=self.without not in {"lines", "persona"},
            weights=self.is_weighed,
            votes=has_memory and self.without != "votes",
        )

    def check(self, task: Task) -> None:
        """Refuse options that do not fit each other; a task that asks for text simply has no weights."""
        self._tools()
        if self.preset == "lean" and (self.without == "action" or self.iterations != 1):
            raise InputError(f"method {self.name}: without=action and iterations are of the paper: add preset=paper")
        if self.preset == "paper" and self.without in {"lines", "weights", "votes"}:
            raise InputError(f"method {self.name}: the paper's persona has no {self.without} of its own to take away")

    async def prepare(self, user: LampUser, resources: Resources) -> PersonaAgent:
        """Remember the history, make the first persona, align it."""
        agent = await self._program(user, resources)
        if (weights := resources.weights.get(user_key(user.user_id))) is not None:
            agent.speak_under(agent.persona.model_copy(update={"weights": weights}))
        history = resources.stored(user).interactions.all()
        if self.without in {"alignment", "persona", "lines"} or all(past.ground_truth is None for past in history):
            return agent
        optimizer = PersonaAlignment(
            mode="paper" if self.preset == "paper" else "evidence",
            n=self.n,
            iterations=self.iterations,
            loss_lm=resources.lm_of("loss"),
            revision_lm=resources.lm_of("revision"),
        )
        return await equipped(optimizer, agent, Certified(resources.certified)).acompile(
            agent, trainset=examples(history)
        )

    async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
        """Remember the latest interaction; the persona stays."""
        await asyncio.to_thread(resources.store.user(user.user_id).interactions.add, user.history[-1:])
        return program

    async def program_before(self, user: LampUser, interaction: Interaction, resources: Resources) -> PersonaAgent:
        """Return the program, without weights, as it would have met an interaction of the user's history."""
        return (await self._program(user, resources)).as_of(interaction)

    async def _program(self, user: LampUser, resources: Resources) -> PersonaAgent:
        def first() -> PersonaAgent:
            stored = resources.stored(user)
            live = stored.personas.live or self._first_version(stored)
            return program(stored, live, resources.task, self._settings, self._tools())

        return await asyncio.to_thread(first)

    def _tools(self) -> tuple[dspy.Tool, ...]:
        return tools_named([self.tool] if self.tool else ())

    def _first_version(self, user: User) -> PersonaVersion:
        if self.without == "persona":
            return user.personas.add(Persona(), reason="ablation: no persona", status="live")
        if self.without == "memory" or self.is_weighed:
            reason = "nothing known of the user in words"
            return user.personas.add(initial_persona((), self.preset), reason=reason, status="live")
        answered = [past for past in user.interactions.all() if past.ground_truth is not None]
        return first_persona(user, latest(answered, self.n) if answered else (), self._settings)


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
        batch = known[len(known) - min(self.calls // self.calls_per_example, len(known) // 2) :]
        unaligned = PersonaAgentMethod(without="alignment", weights="none", n=max(1, len(batch)))
        agent = await unaligned.prepare(user, resources)
        if not batch:
            return agent
        compiled = await in_thread(self._compile, agent.as_of(batch[0]), examples(batch), resources)
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

        def spent(_state: object) -> bool:
            return meter.spend.calls >= self.calls

        with measure() as meter:
            optimizer = GEPA(
                partial(_with_feedback, resources.task),
                max_metric_calls=self.calls,
                reflection_lm=resources.lm_of("revision") or dspy.settings.lm,
                num_threads=1,
                gepa_kwargs={"stop_callbacks": spent},
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
        """Refuse, with a `SetupError`, if Optuna, which searches, is missing."""
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
