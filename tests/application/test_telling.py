"""What a user states becomes a line of the persona, at once and without an LM."""

from collections.abc import Iterator

import dspy
import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.interaction import Interaction
from personaagent.data.said import said
from personaagent.data.store import User
from personaagent.data.task import task_named
from personaagent.forgetting import untell
from personaagent.optimizers import PersonaAlignment
from personaagent.personas import align, live_persona, program
from personaagent.telling import roll_back, tell
from personaagent.testing import ScriptedLM, ScriptedRequest, in_memory_store

REWRITE = {
    "response": "comedy",
    "critique": "say more",
    "profile": ["Likes tea."],
    "preferences": [],
    "tool_use": [],
    "style": [],
    "search": "films",
    "tool": "finish",
    "argument": "",
}


@pytest.fixture
def maya() -> Iterator[User]:
    with in_memory_store() as store:
        yield store.add_user("maya")


def asked(user: User, *answers: str) -> None:
    task = task_named("LaMP-2M")
    user.interactions.add(
        [
            Interaction(
                interaction_id=f"film {number}", query=task.query(f"film {number}"), ground_truth=tag, task=task.name
            )
            for number, tag in enumerate(answers)
        ]
    )


def lines(user: User) -> list[str]:
    live = user.personas.live
    return [line.text for line in live.persona.said] if live else []


def test_a_statement_is_a_line_of_a_new_live_version(maya: User) -> None:
    asked(maya, *["classic"] * 5)
    told = tell(maya, "I am vegetarian")
    [line] = told.version.persona.said
    assert (line.text, line.section, line.causes) == ("I am vegetarian", "preferences", (told.statement.statement_id,))
    assert (told.version.number, told.version.reason, told.version.parent) == (2, "the user said so", 1)
    assert maya.personas.live == told.version
    [stored] = maya.memory.said()
    assert (stored.query, stored.ground_truth, stored.source) == ("I am vegetarian", None, "user")


def test_the_next_answer_is_given_under_it(maya: User) -> None:
    tell(maya, "I am vegetarian")
    lm = ScriptedLM({"response": "lentils"})
    with dspy.context(lm=lm):
        program(maya, live_persona(maya))(query="What shall I cook?")
    assert "I am vegetarian" in lm.requests[-1].system


def test_the_newest_statement_on_a_subject_replaces_the_earlier_which_stays_as_history(maya: User) -> None:
    first = tell(maya, "I am vegetarian").statement
    tell(maya, "My home is Oslo")
    newer = tell(maya, "I am not vegetarian")
    assert lines(maya) == ["My home is Oslo", "I am not vegetarian"]
    assert [statement.statement_id for statement in newer.replaced] == [first.statement_id]
    assert newer.version.reason == "the user said so, in place of 1 earlier statement(s)"
    assert [statement.replaced_by for statement in said(maya.memory.said())] == [
        newer.statement.statement_id,
        None,
        None,
    ]


def test_a_statement_can_stand_beside_one_on_the_same_subject(maya: User) -> None:
    tell(maya, "I speak German")
    tell(maya, "I speak French", also=True)
    assert lines(maya) == ["I speak German", "I speak French"]


def test_a_statement_can_replace_one_that_reads_otherwise(maya: User) -> None:
    old = tell(maya, "I am vegetarian").statement
    tell(maya, "Meat is fine again", replace=old.statement_id)
    assert lines(maya) == ["Meat is fine again"]
    with pytest.raises(UnknownNameError):
        tell(maya, "Anything", replace="nothing")


def test_what_is_taken_back_gives_way_to_what_it_had_replaced(maya: User) -> None:
    tell(maya, "I am vegetarian")
    newer = tell(maya, "I am not vegetarian").statement
    version = untell(maya, newer.statement_id)
    assert version is not None
    assert "forgotten" in version.reason
    assert lines(maya) == ["I am vegetarian"]
    assert len(maya.memory.said()) == 1


@pytest.mark.parametrize("taken_back", [0, 1, 2])
def test_taking_back_leaves_the_persona_as_if_it_had_never_been_said(maya: User, taken_back: int) -> None:
    texts = ["I am vegetarian", "I am not vegetarian", "I am vegetarian now"]
    told = [tell(maya, text).statement for text in texts]
    untell(maya, told[taken_back].statement_id)
    with in_memory_store() as store:
        other = store.add_user("maya")
        for text in texts[:taken_back] + texts[taken_back + 1 :]:
            tell(other, text)
        assert maya.personas.live and other.personas.live
        assert maya.personas.live.persona.to_json() == other.personas.live.persona.to_json()


def test_only_statements_can_be_taken_back(maya: User) -> None:
    asked(maya, "classic")
    with pytest.raises(UnknownNameError, match="unknown statement"):
        untell(maya, "film 0")
    assert len(maya.interactions) == 1


def test_statements_are_not_recalled_summarised_or_simulated(maya: User) -> None:
    asked(maya, *["classic"] * 5)
    before = maya.memory.history()
    tell(maya, "film 1 is what I am")
    assert maya.memory.history() == before
    found = maya.memory.recall("film 1 is what I am", 9)
    assert {episode.interaction.task for episode in found} == {"LaMP-2M"}
    assert len(found) == 5


def test_every_version_keeps_them_whatever_an_alignment_rewrites(maya: User) -> None:
    asked(maya, *["classic"] * 5)
    tell(maya, "I am vegetarian")
    with dspy.context(lm=ScriptedLM(REWRITE)):
        alignment, _ = align(maya, PersonaAlignment(mode="paper", n=2))
    assert alignment.losses
    assert maya.personas.live and [line.text for line in maya.personas.live.persona.lines] == [
        "Likes tea.",
        "I am vegetarian",
    ]


def test_what_is_said_and_forgotten_during_an_alignment_counts_after_it(maya: User) -> None:
    asked(maya, *["classic"] * 6)

    def critique(_: ScriptedRequest) -> str:
        if not maya.memory.said():
            tell(maya, "I am vegetarian")
            maya.interactions.forget("film 5")
        return "say more"

    with dspy.context(lm=ScriptedLM(REWRITE | {"critique": critique})):
        align(maya, PersonaAlignment(mode="paper", n=2))
    live = maya.personas.live
    assert live is not None
    assert [line.text for line in live.persona.lines] == ["Likes tea.", "I am vegetarian"]
    assert live.persona.lines[0].causes == ("film 4",)
    assert [loss.interaction_id for loss in maya.alignments.all()[-1].losses] == ["film 4"]


def test_an_alignment_after_a_statement_goes_on_from_what_was_learnt(maya: User) -> None:
    asked(maya, *["classic"] * 6)
    with dspy.context(lm=ScriptedLM(REWRITE)):
        align(maya, PersonaAlignment(mode="paper", n=3))
        told = tell(maya, "I am vegetarian")
        alignment, _ = align(maya, PersonaAlignment(mode="paper", n=3))
    assert alignment.base_version == told.version.number


def test_an_older_version_that_is_live_again_keeps_what_the_user_states(maya: User) -> None:
    asked(maya, *["classic"] * 5)
    first = live_persona(maya)
    tell(maya, "I am vegetarian")
    live = roll_back(maya, first.number, "back")
    assert live == maya.personas.live
    assert live.persona.lines[:-1] == first.persona.lines
    assert lines(maya) == ["I am vegetarian"]


def test_statements_leave_room_for_what_is_learnt(maya: User) -> None:
    for letter in "abcdefghi":
        tell(maya, letter * 300)
    with pytest.raises(InputError, match="take one back"):
        tell(maya, "j" * 300)
    assert len(lines(maya)) == len(maya.memory.said()) == 9
