"""After an interaction is forgotten, the persona is as if it had never happened."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dspy
import pytest

from personaagent.data.alignment import Alignment, Iteration, Simulation, TextualLoss
from personaagent.data.change import Change, Decision
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Adopted, Kind, Persona, PersonaLine
from personaagent.data.statement import Statement
from personaagent.data.store import User
from personaagent.data.task import task_named
from personaagent.forgetting import forget, redacted, without_interaction
from personaagent.optimizers import EvidenceMode, PersonaAlignment
from personaagent.optimizers.acceptance import Always
from personaagent.optimizers.betting import evidence_of
from personaagent.personas import align, live_persona
from personaagent.telling import tell
from personaagent.testing import ScriptedLM, in_memory_store

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
MIXED = (
    ("LaMP-3", "5"),
    ("LaMP-2M", "classic"),
    ("LaMP-3", "4"),
    ("LaMP-2M", "comedy"),
    ("LaMP-2M", "classic"),
    ("LaMP-2M", "comedy"),
    ("LaMP-2M", "comedy"),
    ("LaMP-2M", "classic"),
)


def history(answers: Sequence[tuple[str, str]], subject: str = "film") -> list[Interaction]:
    return [
        Interaction(
            interaction_id=f"i{day}",
            query=task_named(task).query(f"{subject} {day}"),
            ground_truth=answer,
            at=MONDAY + timedelta(days=day),
            task=task,
        )
        for day, (task, answer) in enumerate(answers)
    ]


@pytest.fixture
def maya() -> Iterator[User]:
    with in_memory_store() as store:
        yield store.add_user("maya")


@pytest.fixture
def another() -> Iterator[User]:
    with in_memory_store() as store:
        yield store.add_user("maya")


def line(text: str, *causes: str, kind: Kind = "rule") -> PersonaLine:
    return PersonaLine(section="preferences", text=text, causes=causes, kind=kind)


def persona(user: User) -> Persona:
    assert user.personas.live is not None
    return user.personas.live.persona


@pytest.mark.parametrize("forgotten", range(5))
def test_the_first_persona_is_that_of_a_history_without_it(maya: User, another: User, forgotten: int) -> None:
    whole = history(MIXED)
    maya.interactions.add(whole)
    another.interactions.add(whole[:forgotten] + whole[forgotten + 1 :])
    live_persona(maya)
    live_persona(another)
    version = forget(maya, f"i{forgotten}")
    assert version is not None
    assert version.parent == 1
    assert version.reason.startswith("an interaction was forgotten: ")
    assert persona(maya).to_json() == persona(another).to_json()


@pytest.mark.parametrize("forgotten", [0, 1, 4])
def test_so_it_is_with_what_was_stated_and_what_evidence_found(maya: User, another: User, forgotten: int) -> None:
    whole = history([("LaMP-2M", "classic")] * 8, "a robot dreams again,")
    for user, kept in ((maya, whole), (another, whole[:forgotten] + whole[forgotten + 1 :])):
        user.interactions.add(kept)
        tell(user, "I am vegetarian")
        mode = EvidenceMode(acceptance=Always())
        with dspy.context(lm=ScriptedLM({"response": "comedy"}, model="embedded/made-up")):
            align(user, PersonaAlignment(mode=mode, n=2))
    forget(maya, f"i{forgotten}")
    assert persona(maya).to_json() == persona(another).to_json()
    assert persona(maya).weights is not None
    assert "I am vegetarian" in persona(maya).text


@pytest.mark.parametrize("kind", ["confusion", "rule"])
def test_what_was_found_in_several_is_not_of_one(maya: User, kind: Kind) -> None:
    maya.interactions.add(history(MIXED))
    two, three = line("two", "i1", "i2", kind=kind), line("three", "i1", "i2", "i3", kind=kind)
    left = without_interaction(Persona(lines=(two, three)), "i2", maya.memory)
    assert left.lines == (line("three", "i1", "i3", kind=kind),)


def test_a_rewritten_line_stands_while_it_has_a_cause(maya: User) -> None:
    maya.interactions.add(history(MIXED))
    one, two = line("one", "i2", kind="rewrite"), line("two", "i1", "i2", kind="rewrite")
    left = without_interaction(Persona(lines=(one, two)), "i2", maya.memory)
    assert left.lines == (line("two", "i1", kind="rewrite"),)


def test_a_line_that_does_not_rest_on_it_stays_as_it_is(maya: User) -> None:
    maya.interactions.add(history(MIXED))
    whole = Persona(lines=(line("template", kind="template"), line("two", "i1", "i2")))
    assert without_interaction(whole, "i3", maya.memory) == whole


def test_an_older_summary_takes_the_place_of_one_that_rests_on_it(maya: User) -> None:
    maya.interactions.add([Interaction(interaction_id=f"i{n}", query=f"q{n}", ground_truth="so") for n in range(4)])
    for name, *evidence in (("older", "i0", "i1"), ("newer", "i0", "i1", "i2")):
        maya.statements.add(
            Statement(statement_id=name, topic="summary:open", text=name, evidence=tuple(evidence), at=MONDAY)
        )
    summary = PersonaLine(section="profile", text="newer", causes=("i0", "i1", "i2"), kind="statement")
    maya.personas.add(Persona(lines=(summary,)), reason="made up", status="live")
    forget(maya, "i2")
    assert [(line.text, line.causes) for line in persona(maya).lines] == [("older", ("i0", "i1"))]
    forget(maya, "i1")
    assert persona(maya).lines == ()


def test_a_demo_of_it_goes_from_what_another_optimizer_left(maya: User) -> None:
    whole = history(MIXED)
    maya.interactions.add(whole)
    pasts = ("(nothing)", "(nothing)", '2026-03-03: "film 1" -> "classic"')
    demos = [
        {"query": interaction.query, "past": past, "response": interaction.ground_truth}
        for interaction, past in zip(whole, pasts, strict=False)
    ]
    predictors = {"respond.predict": {"demos": demos, "instructions": "Be kind."}}
    adopted = Adopted.model_validate({"origin": "GEPA", "task": "LaMP-2M", "preset": "lean", "predictors": predictors})
    left = without_interaction(Persona(adopted=adopted), "i1", maya.memory)
    assert left.adopted is not None
    assert left.adopted.predictors == {"respond.predict": {"demos": demos[:1], "instructions": "Be kind."}}


def test_nothing_is_recorded_where_nothing_changes(maya: User) -> None:
    maya.interactions.add(history(MIXED))
    live_persona(maya)
    assert forget(maya, "i7") is None
    assert len(maya.personas.versions()) == 1
    assert len(maya.interactions) == 7


def decision(text: str, *causes: str, **differences: float) -> Decision:
    change = Change(kind="rule", action="add", line=line(text, *causes), causes=causes)
    evidence = evidence_of([[each] for each in differences.values()])
    return Decision(change=change, outcome="live", evidence=evidence, reason="made up", differences=differences)


def recorded(*decisions: Decision) -> Alignment:
    losses = [
        TextualLoss(interaction_id=name, query="q", response="r", ground_truth=f"truth of {name}", critique="c")
        for name in ("i1", "i2")
    ]
    return Alignment(
        alignment_id="a1",
        settings={},
        base_version=None,
        base=Persona(),
        iterations=(Iteration(losses=tuple(losses), candidate=None, accepted=False, reason="made up"),),
        simulations=tuple(Simulation(interaction_id=name, response=name) for name in ("i1", "i2")),
        decisions=decisions,
        started_at=MONDAY,
    )


def test_alignments_say_nothing_more_of_it(maya: User) -> None:
    maya.interactions.add(history(MIXED))
    maya.alignments.add(recorded(decision("two", "i1", "i2"), decision("three", "i1", "i2", "i3")))
    forget(maya, "i2")
    [left] = maya.alignments.all()
    assert "i2" not in left.to_json()
    assert [loss.interaction_id for loss in left.losses] == ["i1"]
    [kept] = left.decisions
    assert kept.change.causes == ("i1", "i3")


def test_what_was_scored_on_it_is_scored_without_it() -> None:
    scored = decision("two", "i5", "i6", i1=0.25, i2=0.5, i3=-0.125)
    [left] = redacted(recorded(scored), "i2").decisions
    assert left == decision("two", "i5", "i6", i1=0.25, i3=-0.125)
    assert left.evidence.n == 2


def test_an_alignment_that_never_saw_it_is_as_it_was() -> None:
    alignment = recorded(decision("two", "i5", "i6", i1=0.25))
    assert redacted(alignment, "i9") == alignment
