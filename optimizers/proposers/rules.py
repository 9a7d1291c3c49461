"""Rules: the paper's textual loss put to work. Critiques of wrong answers become at most three if-then lines."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import dspy

from ...data.change import Change
from ...data.errors import AnswerError
from ...data.interaction import Interaction
from ...data.persona import PersonaLine, refusal_of
from ...data.task import Task
from ...programs.module import Module, ask, model_here
from ...programs.quoting import quoted
from ...programs.scope import within
from ...signatures import ExplainMistake, Rule
from ...signatures import ProposeRules as RulesAsked
from .proposing import Case, Seen

LEAST_CAUSES = 2
MOST_RULES = 3
MOST_WRONG = 4
"""Wrong answers that are explained, the latest: each costs a call, and served answers grow with a history."""
MOST_RIGHT = 2
"""Right answers that a rule must not spoil, the latest."""
_WORD = re.compile(r"\w+")

_log = logging.getLogger(__name__)


def asks_rules() -> bool:
    """Whether the LM of the context is asked for rules: the embedded ones write none that can be used."""
    return not model_here().startswith("embedded/")


class ProposeRules(Module):
    """Asks an LM why each wrong answer was wrong, and once for the rules that would have been right.

    Refused is a rule that names unknown cases or fewer than two, that copies five words in a row of the form or of a
    question, whose condition says nothing of its cases (it would fit everyone), or that is too long. An answer that
    cannot be read makes no rule.

    Args:
        loss_lm: The model that explains mistakes; by default that of the context.
        revision_lm: The model that writes rules; by default that of the context.
    """

    simulates = True

    def __init__(self, loss_lm: dspy.LM | None = None, revision_lm: dspy.LM | None = None) -> None:
        super().__init__()
        self.explain, self.write = dspy.Predict(ExplainMistake), dspy.Predict(RulesAsked)
        self.explain.lm, self.write.lm = loss_lm, revision_lm

    def applies(self, task: Task) -> bool:
        """Whatever is asked, a rule may be found."""
        del task
        return True

    def propose(self, case: Case) -> Sequence[Change]:
        """Return at most `MOST_RULES` rules."""
        return self(case=case).changes

    def forward(self, *, case: Case) -> dspy.Prediction:
        """Explain, write, and refuse what is no rule; return a prediction with `changes`."""
        wrong = [seen for seen in case.seen if seen.response != seen.interaction.ground_truth][-MOST_WRONG:]
        right = [seen for seen in case.seen if seen.response == seen.interaction.ground_truth][-MOST_RIGHT:]
        if len(wrong) < LEAST_CAUSES:
            return dspy.Prediction(changes=())
        cases = [
            f"{number}. {_told(seen, case)}; critique: {quoted(self._critique(seen, case))}"
            for number, seen in enumerate(wrong, 1)
        ]
        cases += [f"right: {_told(seen, case)}" for seen in right]
        try:
            with within("rules"):
                rules: list[Rule] = ask(self.write, cases="\n".join(cases)).rules
        except AnswerError:
            return dspy.Prediction(changes=())
        held = {line.line_id for line in case.persona.lines}
        changes = [change for rule in rules[:MOST_RULES] if (change := _checked(rule, wrong, case))]
        new = (change for change in changes if change.line and change.line.line_id not in held)
        return dspy.Prediction(changes=tuple(new))

    def _critique(self, seen: Seen, case: Case) -> str:
        try:
            with within(f"interaction {seen.interaction.interaction_id}"):
                answer = ask(
                    self.explain,
                    question=quoted(case.task.content(seen.interaction.query)),
                    response=quoted(seen.response or "(nothing that could be read)"),
                    truth=quoted(seen.interaction.ground_truth or ""),
                )
        except AnswerError:
            return "(none)"
        return answer.critique


def _told(seen: Seen, case: Case) -> str:
    question, truth = case.task.content(seen.interaction.query), seen.interaction.ground_truth or ""
    said = f"; the assistant said: {quoted(seen.response or '')}" if seen.response != truth else ""
    return f"question: {quoted(question)}{said}; the user said: {quoted(truth)}"


def _checked(rule: Rule, wrong: Sequence[Seen], case: Case) -> Change | None:
    """Return the rule as a change; None, and why in the log, if it is refused."""
    numbers = sorted(set(rule.cases))
    text = " ".join(f"If {rule.when.strip()}: {rule.then.strip()}".split())
    interactions = [wrong[number - 1].interaction for number in numbers if 1 <= number <= len(wrong)]
    refusal = _refusal(rule.when, text, numbers, interactions, case)
    if refusal:
        _log.info("a proposed rule was refused: %s", refusal)
        return None
    causes = tuple(interaction.interaction_id for interaction in interactions)
    line = PersonaLine(section="preferences", text=text, causes=causes, kind="rule")
    return Change(kind="rule", action="add", line=line, causes=causes)


def _refusal(
    when: str, text: str, numbers: Sequence[int], interactions: Sequence[Interaction], case: Case
) -> str | None:
    if len(interactions) < len(numbers) or len(numbers) < LEAST_CAUSES:
        return "it names unknown cases, or fewer than two"
    questions = [case.task.content(interaction.query) for interaction in interactions]
    if refusal := refusal_of(text, (*questions, *_form())):
        return refusal
    if not any(_words(when) & _words(question) for question in questions):
        return "its condition says nothing of its cases"
    return None


def _form() -> list[str]:
    """Return the texts of the form: small LMs copy them as answers."""
    fields: dict[str, Any] = {**RulesAsked.fields}
    return [RulesAsked.instructions, *(str(field.json_schema_extra["desc"]) for field in fields.values())]


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if len(word) > 3}
