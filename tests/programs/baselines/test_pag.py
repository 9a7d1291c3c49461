"""What a user's summary is made from, and where it stands. The user is made up."""

from collections.abc import Sequence

import dspy
import pytest

from personaagent.data.errors import AnswerError, InputError
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import TASKS
from personaagent.data.task import OPEN, Task
from personaagent.programs.baselines.prompted import Pag, ProfileSummary
from personaagent.programs.baselines.retrievers import Bm25Retriever
from personaagent.testing import ScriptedLM

TASK = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic"), template="Which tag? {content}")
QUERY = TASK.query("A keeper paints the sea")


def history(size: int, words: int = 2) -> list[Interaction]:
    return [
        Interaction(
            interaction_id=str(number),
            query=TASK.query(" ".join([f"Film{number}", *["x"] * (words - 1)])),
            ground_truth="classic",
            position=number,
            task=TASK.name,
        )
        for number in range(size)
    ]


@pytest.fixture
def lm() -> ScriptedLM:
    return ScriptedLM({"summary": " Loves old films.\n", "response": "classic"})


def read(past: Sequence[Interaction], task: Task = TASK, **settings: int) -> tuple[str, str]:
    """Return what the LM is told to say, and from which items."""
    lm = ScriptedLM({"summary": "x"})
    with dspy.context(lm=lm):
        ProfileSummary(task, **settings)(history=past)
    return lm.requests[0].input("wanted"), lm.requests[0].input("past_items")


def films(items: str) -> list[int]:
    return [int(line.split('"Film')[1].split()[0]) for line in items.splitlines()]


def test_the_summary_is_one_call(lm: ScriptedLM) -> None:
    with dspy.context(lm=lm):
        written = ProfileSummary(TASK)(history=history(3))
    assert (written.summary, written.spend.calls) == ("Loves old films.", 1)


def test_ten_items_are_drawn_by_the_seed_and_read_oldest_first() -> None:
    past = history(50)
    chosen = films(read(past)[1])
    assert len(set(chosen)) == 10
    assert chosen == sorted(chosen)
    assert chosen == films(read(past)[1])
    assert chosen != films(read(past, seed=1)[1])
    assert chosen != list(range(40, 50))


def test_a_short_history_is_read_whole() -> None:
    assert films(read(history(3))[1]) == [0, 1, 2]
    assert len(films(read(history(9), items=2)[1])) == 2


def test_an_item_is_cut_to_200_words() -> None:
    _, items = read(history(1, words=500))
    assert items.split('"')[1].split() == ["Film0", *["x"] * 199, "..."]


def test_each_task_asks_for_something_of_its_own() -> None:
    wanted = {task.name: read(history(1), task)[0] for task in (*TASKS.values(), OPEN)}
    assert len(set(wanted.values())) == len(wanted)
    assert "topics" in wanted["LaMP-1"] and "tag" in wanted["LaMP-2M"] and "score" in wanted["LaMP-3"]


def test_the_summary_stands_before_what_was_recalled_and_before_nothing_if_k_is_0(lm: ScriptedLM) -> None:
    past = history(3)
    with dspy.context(lm=lm):
        found = Pag(TASK, "Loves\nold films.", Bm25Retriever(past, TASK), k=1)(query=TASK.query("Film1"))
        alone = Pag(TASK, "Loves old films.", k=0)(query=QUERY)
    assert found.interactions == (past[1],)
    assert found.spend.calls == alone.spend.calls == 1
    assert lm.requests[0].input("interactions") == (
        'summary of this user:\n| Loves\n| old films.\nthe tag for the movie: "Film1 x" is "classic"'
    )
    assert alone.interactions == ()
    assert lm.requests[1].input("interactions") == "summary of this user:\n| Loves old films.\n(nothing)"


def test_with_a_k_of_0_nothing_is_retrieved(lm: ScriptedLM) -> None:
    class Untouched:
        def top(self, query: str, k: int) -> tuple[Interaction, ...]:
            raise AssertionError("PAG-0 retrieved")

    with dspy.context(lm=lm):
        assert Pag(TASK, "x", Untouched(), k=0)(query=QUERY).interactions == ()


async def test_async_asks_the_same(lm: ScriptedLM) -> None:
    past = history(12)
    summary, program = ProfileSummary(TASK), Pag(TASK, "Loves films.", Bm25Retriever(past, TASK))
    with dspy.context(lm=lm):
        summary(history=past)
        await summary.acall(history=past)
        program(query=QUERY)
        await program.acall(query=QUERY)
    texts = [request.text for request in lm.requests]
    assert texts[0] == texts[1] and texts[2] == texts[3]


def test_what_cannot_be_read_is_an_answer_error() -> None:
    lm = ScriptedLM(lambda _: '{"summary": "cut in')
    with dspy.context(lm=lm), pytest.raises(AnswerError, match="summary"):
        ProfileSummary(TASK)(history=history(1))
    with dspy.context(lm=lm), pytest.raises(AnswerError, match="response"):
        Pag(TASK, "x", k=0)(query=QUERY)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="this user has none"):
        ProfileSummary(TASK)(history=[])
    with pytest.raises(InputError, match="items is 0"):
        ProfileSummary(TASK, items=0)
    with pytest.raises(InputError, match="k is 4"):
        Pag(TASK, "x")
    with pytest.raises(InputError, match="k is -1"):
        Pag(TASK, "x", Bm25Retriever(history(1), TASK), k=-1)
