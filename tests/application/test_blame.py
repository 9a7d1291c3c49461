"""Every line of a persona, and its weights, say why they are there."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from personaagent.blame import Cause, blame
from personaagent.data.alignment import Alignment
from personaagent.data.answer_weights import AnswerWeights
from personaagent.data.change import Change, Decision, Evidence
from personaagent.data.errors import UnknownNameError
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store import User
from personaagent.data.task import task_named
from personaagent.telling import tell
from personaagent.testing import in_memory_store

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
RULE = PersonaLine(section="preferences", text="If it rains: classic.", causes=("1", "gone"), kind="rule")
SHADOW = PersonaLine(section="preferences", text="If it snows: comedy.", causes=("1", "2"), kind="confusion")
TEMPLATE = PersonaLine(section="style", text="Answer in one sentence.")
WEIGHTS = AnswerWeights(
    lm="made-up/lm",
    task="LaMP-2M",
    form="lean",
    leaning={"a": 1.0},
    base_rate={"a": 1.0},
    c=0.5,
    users=7,
    interactions=21,
)


def decided(line: PersonaLine, outcome: str, n: int) -> Decision:
    change = Change(kind="rule", action="add", line=line, causes=line.causes)
    evidence = Evidence(n=n, mean=0.25, wealth=2.5)
    return Decision(change=change, outcome=outcome, evidence=evidence, reason="made up")  # type: ignore[arg-type]


@pytest.fixture
def maya() -> Iterator[User]:
    with in_memory_store() as store:
        user, task = store.add_user("maya"), task_named("LaMP-2M")
        user.interactions.add(
            [
                Interaction(
                    interaction_id=str(day),
                    query=task.query("a film in which it rains " + "and rains " * 9),
                    ground_truth="classic",
                    at=MONDAY.replace(day=2 + day),
                    task=task.name,
                )
                for day in (1, 2)
            ]
        )
        base = user.personas.add(Persona(lines=(RULE, TEMPLATE), weights=WEIGHTS), reason="made up", status="live")
        user.alignments.add(
            Alignment(
                alignment_id="a1",
                settings={},
                base_version=base.number,
                base=base.persona,
                iterations=(),
                decisions=(decided(RULE, "live", 4), decided(SHADOW, "shadow", 0), decided(TEMPLATE, "rejected", 3)),
                started_at=datetime.now(UTC),
            )
        )
        yield user


def test_each_line_then_the_weights_then_what_is_not_live(maya: User) -> None:
    tell(maya, "I am vegetarian")
    found = blame(maya)
    assert [(line.state, line.kind, line.because) for line in found] == [
        ("live", "rule", "2 interactions"),
        ("live", "template", "the template"),
        ("live", "said", "what the user said"),
        ("live", "weights", "all 2 answered interactions of task LaMP-2M"),
        ("shadow", "confusion", "2 interactions"),
    ]
    assert maya.personas.live is not None
    assert [each.line_id for each in found[:3]] == [line.line_id for line in maya.personas.live.persona.lines]


def test_a_cause_is_shown_by_its_date_and_first_words_even_if_it_is_gone(maya: User) -> None:
    known, gone = blame(maya)[0].causes
    assert (known.interaction_id, known.at) == ("1", MONDAY.replace(day=3))
    assert known.words == "a film in which it rains and rains and rains and rains ..."
    assert gone == Cause(interaction_id="gone")


def test_evidence_is_shown_where_something_was_scored(maya: User) -> None:
    rule, template, weights, shadow = blame(maya)
    assert rule.evidence == Evidence(n=4, mean=0.25, wealth=2.5)
    assert (template.evidence, weights.evidence, shadow.evidence) == (Evidence(n=3, mean=0.25, wealth=2.5), None, None)


def test_weights_say_how_far_each_is_believed(maya: User) -> None:
    weights = blame(maya)[2]
    assert weights.text == (
        "made-up/lm counts 1, the user's habits 1, the user's memory 0.5 (fitted on 21 interactions of 7 users)"
    )


def test_an_older_version_is_explained_by_what_was_known_of_it(maya: User) -> None:
    maya.personas.add(Persona(lines=(SHADOW,)), reason="later", status="live")
    assert [(line.state, line.text) for line in blame(maya, 1)] == [
        ("live", RULE.text),
        ("live", TEMPLATE.text),
        ("live", blame(maya, 1)[2].text),
    ]
    assert [line.text for line in blame(maya)] == [SHADOW.text]


def test_without_a_persona_there_is_nothing_to_explain() -> None:
    with in_memory_store() as store:
        user = store.add_user("new")
        assert blame(user) == ()
        with pytest.raises(UnknownNameError):
            blame(user, 1)
