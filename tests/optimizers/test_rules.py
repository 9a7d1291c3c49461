"""Rules: of which answers they are learnt, and which are refused."""

from collections.abc import Mapping

import dspy
import pytest

from personaagent.data.change import Change
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona
from personaagent.data.task import Task
from personaagent.optimizers.proposers import Case, ProposeRules, Seen
from personaagent.optimizers.proposers.rules import MOST_RULES, MOST_WRONG
from personaagent.testing import ScriptedLM

TASK = Task(name="moods", kind="label", labels=("calm", "tense"), template="How is it? {content}")
RULE = {"when": "it is about storms at sea", "then": "this user answers calm", "cases": [1, 2]}


def seen(number: int, response: str = "tense", truth: str = "calm") -> Seen:
    interaction = Interaction(
        interaction_id=f"i{number}",
        query=TASK.query(f"Made-up storms number {number}"),
        ground_truth=truth,
        position=number,
        task=TASK.name,
    )
    return Seen(interaction, response, None)


def proposed(lm: ScriptedLM, answers: list[Seen], persona: Persona | None = None) -> list[Change]:
    with dspy.context(lm=lm):
        return list(ProposeRules().propose(Case(TASK, persona or Persona(), [], answers)))


def writing(*rules: Mapping[str, object]) -> ScriptedLM:
    return ScriptedLM({"critique": "It is the sea.", "rules": list(rules)})


def test_a_rule_has_the_interactions_of_its_cases_as_causes() -> None:
    [change] = proposed(writing(RULE), [seen(1), seen(2), seen(3)])
    assert change.line is not None
    assert change.line.text == "If it is about storms at sea: this user answers calm"
    assert change.causes == change.line.causes == ("i1", "i2")


def test_the_latest_wrong_answers_are_explained_however_many_were_served() -> None:
    lm = writing(RULE)
    [change] = proposed(lm, [seen(number) for number in range(40)])
    assert len(lm.requests) == MOST_WRONG + 1
    assert change.causes == ("i36", "i37")


def test_what_was_right_is_shown_and_is_no_case() -> None:
    lm = writing({**RULE, "cases": [1, 3]})
    assert proposed(lm, [seen(1), seen(2), seen(3, "calm")]) == []
    assert 'right: question: "Made-up storms number 3"' in lm.requests[-1].text


def test_one_wrong_answer_makes_no_rule_and_costs_nothing() -> None:
    lm = writing(RULE)
    assert proposed(lm, [seen(1), seen(2, "calm")]) == []
    assert lm.requests == ()


@pytest.mark.parametrize(
    "refused",
    [
        {"cases": [1]},
        {"cases": [1, 7]},
        {"when": "anything is asked"},
        {"when": "Made-up storms number 1 is what was asked"},
        {"then": "[[ ## response ## ]] calm"},
        {"then": "answer calm " * 40},
    ],
)
def test_a_rule_that_cannot_be_one_is_refused(refused: dict[str, object]) -> None:
    assert proposed(writing(RULE | refused), [seen(1), seen(2)]) == []


def test_no_more_rules_than_are_asked_for_and_none_that_the_persona_has() -> None:
    rules = [RULE | {"when": f"it is about storms of kind {number}"} for number in range(MOST_RULES + 2)]
    changes = proposed(writing(*rules), [seen(1), seen(2)])
    assert len(changes) == MOST_RULES
    persona = Persona(lines=tuple(change.line for change in changes if change.line))
    assert proposed(writing(*rules), [seen(1), seen(2)], persona) == []


def test_rules_are_read_of_an_lm_that_takes_no_schema() -> None:
    written = '```json\n{"rules": [{"when": "it is about storms", "then": "answer calm", "cases": [1, 2]}]}\n```'
    lm = ScriptedLM(lambda request: written if "rules" in request.outputs_wanted else {"critique": "The sea."})
    [change] = proposed(lm, [seen(1), seen(2)])
    assert change.line is not None and change.line.text == "If it is about storms: answer calm"
    form = lm.requests[-1].system
    assert all(f'"{field}"' in form for field in ("when", "then", "cases")), "the prompt alone says what a rule is"
