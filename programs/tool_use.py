"""Tool use: a bounded loop of actions that the persona chooses and whose failures it reads."""

from functools import cache
from typing import Literal

import dspy

from ..data.errors import AnswerError
from ..signatures import ChooseAction
from .module import SpeakingModule, ask
from .tools.toolbox import Action, Toolbox

_UNUSABLE = "that was not a usable choice of a tool: name one of the tools with its arguments"


class ToolUse(SpeakingModule):
    """Choose and use tools until the query can be answered, at least `min_actions` and at most `max_steps` times.

    Args:
        toolbox: The tools; their names narrow the type of a choice.
        min_actions: Actions that must be taken before answering (paper: at least two tools, recall being one).
        max_steps: Choices that may be made, those that could not be read included. The LM of a single choice is not
            asked whether it needs another.
    """

    def __init__(self, toolbox: Toolbox, min_actions: int, max_steps: int) -> None:
        super().__init__(_choosing(toolbox.names, only_once=max_steps == 1))
        self.min_actions, self.max_steps = min_actions, max_steps

    def forward(self, *, query: str, known: str, toolbox: Toolbox) -> dspy.Prediction:
        """Choose and use tools; return a prediction with the `trajectory` of actions and its `observations`.

        `known` is what recall has found, quoted. The tools may be masked; their names are those of the constructor.
        """
        trajectory: list[Action] = []
        for _ in range(self.max_steps):
            observations = "\n".join([known, *_written(trajectory)])
            try:
                choice = ask(self.predict, tools=toolbox.description, query=query, observations=observations)
            except AnswerError:
                trajectory.append(Action(tool="none", arguments={}, observation=_UNUSABLE, failed=True))
                continue
            trajectory.append(toolbox(tool=choice.tool, argument=choice.argument))
            if self.max_steps > 1 and choice.ready_to_answer and len(trajectory) >= self.min_actions:
                break
        return dspy.Prediction(trajectory=tuple(trajectory), observations="\n".join(_written(trajectory)) or "(none)")


@cache
def _choosing(names: tuple[str, ...], *, only_once: bool) -> type[dspy.Signature]:
    choose = ChooseAction.with_updated_fields("tool", type_=Literal[names])
    return choose.delete("ready_to_answer") if only_once else choose


def _written(trajectory: list[Action]) -> list[str]:
    return [action.written for action in trajectory]
