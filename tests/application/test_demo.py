"""The made-up user, and the honest reading of how the answers changed."""

from pathlib import Path

import dspy
import pytest

from personaagent.data.alignment import Spend
from personaagent.data.errors import AnswerError
from personaagent.data.lamp import LampUser, task_named
from personaagent.demo import Answers, Comparison, answer_all, compare, made_up_user, write_lamp_files
from personaagent.programs import PersonaAgent
from personaagent.testing import ScriptedLM, in_memory_store

MOVIES = task_named("LaMP-2M")


@pytest.fixture
def person(tmp_path: Path) -> LampUser:
    return made_up_user(tmp_path)


def test_the_user_says_that_it_is_made_up(person: LampUser) -> None:
    assert "made up" in person.user_id


def test_the_history_is_dated_and_long_enough(person: LampUser) -> None:
    assert len(person.history) == 36
    assert len(person.questions) == 6
    dates = [one.at for one in (*person.history, *person.questions)]
    known = [date for date in dates if date is not None]
    assert len(known) == 42
    assert known == sorted(known)
    assert len(set(known)) == 42, "no two fall on one day, so that there is one order"


def test_every_answer_is_a_tag_of_the_task(person: LampUser) -> None:
    for one in (*person.history, *person.questions):
        assert one.ground_truth in MOVIES.labels
        assert MOVIES.content(one.query) != one.query, "it is asked in the task's own words"


def test_no_question_is_in_the_history(person: LampUser) -> None:
    assert not {one.query for one in person.questions} & {one.query for one in person.history}


def test_the_files_are_the_same_every_time(tmp_path: Path) -> None:
    first, second = write_lamp_files(tmp_path / "1"), write_lamp_files(tmp_path / "2")
    for name in ("questions.json", "outputs.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize(
    ("won", "lost", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (1, 1, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (0, 6, 0.03125), (5, 1, 0.21875)],
)
def test_the_sign_test_is_exact(won: int, lost: int, p_value: float) -> None:
    assert Comparison(won=won, lost=lost, questions=6).p_value == p_value


def answers(*responses: str, golds: str = "abc") -> Answers:
    return Answers(1, responses, tuple(golds), Spend())


def test_only_questions_on_which_the_versions_differ_are_won_or_lost() -> None:
    assert compare(answers("a", "x", "x"), answers("a", "b", "c")) == Comparison(won=2, lost=0, questions=3)
    assert compare(answers("a", "b", "x"), answers("x", "b", "y")) == Comparison(won=0, lost=1, questions=3)


def test_the_reading_says_what_the_numbers_cannot_show() -> None:
    reading = Comparison(won=6, lost=0, questions=6).reading
    assert "won 6 and lost 0 of 6" in reading
    assert "p = 0.03" in reading
    assert "not how much it helps" in reading


class Telling(PersonaAgent):
    """Asks the LM once, and says what it said; the first answer cannot be read."""

    asked = 0

    def forward(self, *, query: str) -> dspy.Prediction:
        lm = dspy.settings.lm
        assert lm is not None
        [text] = lm(prompt=query)
        self.asked += 1
        if self.asked == 1:
            raise AnswerError("not a tag")
        return dspy.Prediction(response=text)


def test_an_answer_that_cannot_be_read_is_wrong_and_is_paid_for(person: LampUser) -> None:
    heard: list[str] = []
    lm = ScriptedLM(lambda _: "comedy")
    with in_memory_store() as store, dspy.context(lm=lm):
        agent = Telling(MOVIES, store.add_user(person.user_id).memory, tools=[])
        answered = answer_all(agent, person.questions, lambda: heard.append("answered"))
    assert answered.responses == ("(no tag)", *["comedy"] * 5)
    assert answered.golds == tuple(one.ground_truth for one in person.questions)
    assert answered.right == (False, *(gold == "comedy" for gold in answered.golds[1:]))
    assert answered.spend.calls == len(lm.requests) == len(heard) == 6
