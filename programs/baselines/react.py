"""ReAct: thought, action, observation, over Wikipedia; nothing about the user."""

import re
from typing import Literal

import dspy

from ...data.errors import AnswerError, InputError
from ...data.nouns import Noun
from ...data.task import Task
from ...signatures import TakeReactStep
from ..module import Module, ask
from ..quoting import quoted
from ..tools.toolbox import Toolbox, ToolFailure

_SENTENCES_AT_FIRST = 5
_THOUGHT_WORDS = 80
_UNREADABLE = "that was not a step: give a thought, one of the actions, and its argument"
_NO_ANSWER = "that is no answer in the form that the query asks for: finish again with the answer alone"


class ReactStep(Noun):
    """One round of the loop."""

    thought: str
    action: Literal["search", "lookup", "finish", "none"]
    """`none`: the LM wrote nothing that could be read as a step."""
    argument: str
    observation: str
    """What came of it, quoted; after the finish, nothing."""


class React(Module):
    """Think and look things up in Wikipedia until an answer is found, without any memory of the user.

    Source: Yao et al. (arXiv 2210.03629; ysymyth/ReAct): actions search, lookup, finish; at most 7 steps; no finish, no
    answer. Two things differ: a step is asked for as fields, where the published code parses text; and no worked
    examples are shown. The published second try at a step that does not parse is that of `ask`; after that it is an
    observation. The argument of `finish` is the answer. If it is not in the task's form, the remaining steps may put it
    right.

    Args:
        task: In which form the answer comes.
        search: Takes one text, the name of an entity, and returns a page about it. `lookup` reads on in what it
            returned. It is called in a worker thread, so it must not be a coroutine function.
        max_steps: Steps that may be taken, the finish and unreadable ones included.

    Example:
        >>> React(task, wikipedia_page_tool())(query="Which tag does this movie relate to ...").response
        'classic'
    """

    def __init__(self, task: Task, search: dspy.Tool, max_steps: int = 7) -> None:
        super().__init__()
        if max_steps < 1:
            raise InputError(f"max_steps is {max_steps}: ReAct needs at least 1 step to finish")
        if len(search.args or {}) != 1:
            raise InputError(f"tool {search.name} takes {len(search.args or {})} arguments: ReAct searches with one")
        self.task, self.search, self.max_steps = task, search, max_steps
        self.predict = dspy.Predict(TakeReactStep)

    def forward(self, *, query: str) -> dspy.Prediction:
        """Take steps until one finishes; the prediction also has them, as its `trajectory`.

        Raises:
            AnswerError: No step finished with an answer in the task's form.
        """
        reading = _Reading(self.search)
        toolbox = Toolbox([dspy.Tool(reading.search), dspy.Tool(reading.lookup)])
        steps: list[ReactStep] = []
        for left in range(self.max_steps, 0, -1):
            step = self._step(query, steps, left, toolbox)
            steps.append(step)
            if step.action == "finish" and not step.observation:
                return dspy.Prediction(response=self.task.parse(step.argument), trajectory=tuple(steps))
        raise AnswerError(f"ReAct did not finish with an answer in the task's form in {self.max_steps} steps")

    def _step(self, query: str, steps: list[ReactStep], left: int, toolbox: Toolbox) -> ReactStep:
        try:
            chosen = ask(self.predict, query=query, steps=_written(steps), steps_left=left)
        except AnswerError:
            return ReactStep(thought="", action="none", argument="", observation=_UNREADABLE)
        if chosen.action == "finish":
            observation = "" if self.task.parse(chosen.argument) is not None else _NO_ANSWER
        else:
            observation = toolbox(tool=chosen.action, argument=chosen.argument).observation
        return ReactStep(
            thought=chosen.thought, action=chosen.action, argument=chosen.argument, observation=observation
        )


class _Reading:
    """What one question has open: the page that was found last, and how far a keyword was followed through it."""

    def __init__(self, tool: dspy.Tool) -> None:
        self._tool = tool
        self._sentences: tuple[str, ...] = ()
        self._keyword, self._seen = "", 0

    def search(self, entity: str) -> str:
        """Open the page about an entity and return how it begins."""
        self._sentences, self._keyword = (), ""
        [argument] = self._tool.args or {}
        self._sentences = _sentences(str(self._tool(**{argument: entity})))
        return " ".join(self._sentences[:_SENTENCES_AT_FIRST])

    def lookup(self, keyword: str) -> str:
        """Return the next sentence of the open page with a keyword, whatever its case."""
        if not self._sentences:
            raise ToolFailure("no page is open: search first")
        wanted = keyword.strip().casefold()
        if wanted != self._keyword:
            self._keyword, self._seen = wanted, 0
        found = [sentence for sentence in self._sentences if wanted in sentence.casefold()]
        if self._seen >= len(found):
            return "no more sentences with this keyword"
        self._seen += 1
        return f"({self._seen} of {len(found)}) {found[self._seen - 1]}"


def _sentences(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip())


def _written(steps: list[ReactStep]) -> str:
    return (
        "\n".join(
            f"{number}. thought: {quoted(step.thought, _THOUGHT_WORDS)}\n"
            f"{step.action}({quoted(step.argument)}) returned:\n{step.observation}"
            for number, step in enumerate(steps, 1)
        )
        or "(none)"
    )
