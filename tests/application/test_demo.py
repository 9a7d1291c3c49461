"""The made-up user, and the honest reading of the answers."""

from pathlib import Path

import dspy
import pytest

from personaagent.cli.demo import Answer, Answers, answer_all, made_up_user, write_lamp_files
from personaagent.data.alignment import Spend
from personaagent.data.answer_weights import AnswerWeights
from personaagent.data.errors import AnswerError
from personaagent.data.lamp import LampUser, task_named
from personaagent.programs import PersonaAgent
from personaagent.programs.context import NO_CONTEXT, Context
from personaagent.testing import ScriptedLM, in_memory_store

MOVIES = task_named("LaMP-2M")


@pytest.fixture
def person(tmp_path: Path) -> LampUser:
    return made_up_user(tmp_path)


def test_the_user_says_that_it_is_made_up(person: LampUser) -> None:
    assert "made up" in person.user_id


def test_the_history_is_dated_and_long_enough(person: LampUser) -> None:
    assert len(person.history) == 24
    assert len(person.questions) == 3
    dates = [interaction.at for interaction in (*person.history, *person.questions)]
    known = [date for date in dates if date is not None]
    assert len(known) == 27
    assert known == sorted(known)
    assert len(set(known)) == 27, "no two fall on one day, so that there is one order"


def test_every_answer_is_a_tag_of_the_task(person: LampUser) -> None:
    for interaction in (*person.history, *person.questions):
        assert interaction.ground_truth in MOVIES.labels
        assert MOVIES.content(interaction.query) != interaction.query, "it is asked in the task's own words"


def test_no_question_is_in_the_history(person: LampUser) -> None:
    assert not {interaction.query for interaction in person.questions} & {
        interaction.query for interaction in person.history
    }


def test_the_files_are_the_same_every_time(tmp_path: Path) -> None:
    first, second = write_lamp_files(tmp_path / "1"), write_lamp_files(tmp_path / "2")
    for name in ("questions.json", "outputs.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def answers(*responses: str, alone: str = "xxx", golds: str = "abc") -> Answers:
    said = zip(responses, alone, golds, strict=True)
    return Answers(tuple(Answer("?", lm, "a", "b", response, gold) for response, lm, gold in said), Spend())


def test_what_the_lm_alone_had_right_is_counted_beside_what_the_agent_had() -> None:
    some = answers("a", "x", "c", alone="abx")
    assert (some.right, some.right_alone) == (2, 2)


def test_the_reading_says_what_the_numbers_cannot_show() -> None:
    reading = answers("a", "b", "c").reading
    assert "alone had 0 of 3 right, the agent 3" in reading
    assert "prove nothing" in reading


def test_everyone_who_is_listened_to_is_shown(person: LampUser) -> None:
    lm = ScriptedLM(lambda _: {"response": "sci-fi"})
    with in_memory_store() as store, dspy.context(lm=lm):
        user = store.add_user(person.user_id)
        user.interactions.add(person.history)
        agent = PersonaAgent(MOVIES, user.memory)
        [plain] = answer_all(agent, person.questions[:1]).answers
        evenly = dict.fromkeys(MOVIES.labels, 1 / len(MOVIES.labels))
        weights = AnswerWeights(lm=lm.model, task=MOVIES.name, form="lean:k=4", leaning=evenly, base_rate=evenly, b=4)
        agent.speak_under(agent.persona.model_copy(update={"weights": weights}))
        [weighed] = answer_all(agent, person.questions[:1]).answers
    assert (plain.lm, plain.response, weighed.lm) == ("sci-fi", "sci-fi", "sci-fi")
    assert plain.habits == weighed.habits == weighed.response == plain.gold == "social commentary"
    assert plain.memory == "social commentary"


class Telling(PersonaAgent):
    """Asks the LM once, and says what it said; the first answer cannot be read."""

    asked = 0

    def forward(self, *, query: str, context: Context = NO_CONTEXT) -> dspy.Prediction:
        del context
        lm = dspy.settings.lm
        assert lm is not None
        [text] = lm(prompt=query)
        self.asked += 1
        if self.asked == 1:
            raise AnswerError("not a tag")
        return dspy.Prediction(response=text, lm_probabilities=None, experts=None)


def test_an_answer_that_cannot_be_read_is_wrong_and_is_paid_for(person: LampUser) -> None:
    heard: list[str] = []
    lm = ScriptedLM(lambda _: "comedy")
    with in_memory_store() as store, dspy.context(lm=lm):
        agent = Telling(MOVIES, store.add_user(person.user_id).memory, tools=[])
        answered = answer_all(agent, person.questions, lambda: heard.append("answered"))
    assert [answer.response for answer in answered.answers] == ["(no tag)", *["comedy"] * 2]
    assert [answer.gold for answer in answered.answers] == [
        interaction.ground_truth for interaction in person.questions
    ]
    assert answered.right == 0
    assert answered.spend.calls == len(lm.requests) == len(heard) == 3
