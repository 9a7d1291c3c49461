"""Which examples ICL shows. The user is made up."""

import dspy
import pytest

from personaagent.data.errors import AnswerError, InputError
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import task_named
from personaagent.data.task import Task
from personaagent.programs.baselines.prompted import Icl
from personaagent.testing import ScriptedLM

TASK = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic"), template="Which tag? {content}")
QUERY = TASK.query("A keeper paints the sea")


def history(*tags: str | None) -> list[Interaction]:
    return [
        Interaction(
            interaction_id=str(number),
            query=TASK.query(f"Film {number}"),
            ground_truth=tag,
            position=number,
            task=TASK.name,
        )
        for number, tag in enumerate(tags)
    ]


def shown(program: Icl, query: str = QUERY) -> str:
    lm = ScriptedLM({"response": "comedy"})
    with dspy.context(lm=lm):
        program(query=query)
    return lm.requests[0].input("interactions")


def test_the_latest_answered_interactions_are_shown_oldest_first() -> None:
    program = Icl(TASK, history("classic", "comedy", None, "classic", "comedy", None), shots=3)
    assert shown(program) == (
        '1. "Film 1" -> the user answered "comedy"\n'
        '2. "Film 3" -> the user answered "classic"\n'
        '3. "Film 4" -> the user answered "comedy"'
    )
    assert [example.interaction_id for example in program.examples] == ["1", "3", "4"]


def test_four_examples_are_the_default_and_the_same_for_every_query() -> None:
    program = Icl(TASK, history(*["comedy"] * 9))
    assert [example.interaction_id for example in program.examples] == ["5", "6", "7", "8"]
    assert shown(program) == shown(program, TASK.query("Film 0"))


def test_a_history_without_answers_shows_its_latest_items() -> None:
    assert shown(Icl(TASK, history(None, None, None), shots=2)) == '1. "Film 1"\n2. "Film 2"'


def test_a_question_with_three_titles_is_shown_whole() -> None:
    title = " ".join(["goats"] * 20)
    asked = (
        f'For an author who has written the paper with the title "{title}", which reference is related? Just answer '
        f'with [1] or [2] without explanation. [1]: "{title}" [2]: "{title} end"'
    )
    earlier = Interaction(interaction_id="1", query=asked, ground_truth="[2]", task="LaMP-1")
    lm = ScriptedLM({"response": "[1]"})
    with dspy.context(lm=lm):
        Icl(task_named("LaMP-1"), [earlier])(query=asked)
    assert r'end\"" -> the user answered "[2]"' in lm.requests[0].input("interactions")


async def test_it_asks_once_and_the_same_both_ways() -> None:
    lm, program = ScriptedLM({"response": "comedy"}), Icl(TASK, history("classic"))
    with dspy.context(lm=lm):
        answered, concurrent = program(query=QUERY), await program.acall(query=QUERY)
    assert (answered.response, answered.spend.calls) == (concurrent.response, concurrent.spend.calls) == ("comedy", 1)
    assert lm.requests[0].text == lm.requests[1].text


def test_the_answer_is_held_to_the_task() -> None:
    with dspy.context(lm=ScriptedLM(lambda _: {"response": "horror"})), pytest.raises(AnswerError):
        Icl(TASK, history("classic"))(query=QUERY)


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(InputError, match="this user has none"):
        Icl(TASK, [])
    with pytest.raises(InputError, match="shots is 0"):
        Icl(TASK, history("classic"), shots=0)
