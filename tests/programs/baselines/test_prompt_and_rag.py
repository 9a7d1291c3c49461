"""What the LM is asked by the methods without a persona. The user is made up."""

import dspy
import pytest

from personaagent.data.errors import AnswerError, InputError
from personaagent.data.interaction import Interaction
from personaagent.data.task import Task
from personaagent.programs.baselines.prompted import Prompt, Rag
from personaagent.programs.baselines.retrievers import Bm25Retriever
from personaagent.testing import ScriptedLM

TASK = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic"), template="Which tag? {content}")
QUERY = TASK.query("A keeper paints the sea")
FILMS = {"A keeper counts ships": "classic", "Bakers swap shops": "comedy", "Bees swap hives": "comedy"}
HISTORY = tuple(
    Interaction(interaction_id=plot, query=TASK.query(plot), ground_truth=tag, position=number, task=TASK.name)
    for number, (plot, tag) in enumerate(FILMS.items())
)


@pytest.fixture
def lm() -> ScriptedLM:
    return ScriptedLM({"response": "comedy"})


@pytest.fixture
def rag() -> Rag:
    return Rag(TASK, Bm25Retriever(HISTORY, TASK), k=1)


def test_prompt_asks_once_and_knows_nothing_of_the_user(lm: ScriptedLM) -> None:
    with dspy.context(lm=lm):
        answered = Prompt(TASK)(query=QUERY)
    assert (answered.response, answered.spend.calls) == ("comedy", 1)
    [request] = lm.requests
    assert request.input("query") == QUERY
    assert request.input("interactions") == request.input("observations") == "(nothing)"


def test_rag_asks_once_with_the_items_it_found(lm: ScriptedLM, rag: Rag) -> None:
    with dspy.context(lm=lm):
        answered = rag(query=QUERY)
    assert (answered.response, answered.spend.calls) == ("comedy", 1)
    assert answered.interactions == HISTORY[:1]
    [request] = lm.requests
    assert request.input("query") == QUERY
    assert request.input("interactions") == 'the tag for the movie: "A keeper counts ships" is "classic"'


@pytest.mark.parametrize("program", [Prompt(TASK), Rag(TASK, Bm25Retriever(HISTORY, TASK))], ids=["prompt", "rag"])
async def test_async_asks_the_same(program: dspy.Module, lm: ScriptedLM) -> None:
    with dspy.context(lm=lm):
        sync, concurrent = program(query=QUERY), await program.acall(query=QUERY)
    assert sync.response == concurrent.response
    assert lm.requests[0].text == lm.requests[1].text


def test_the_answer_is_held_to_the_task(rag: Rag) -> None:
    with dspy.context(lm=ScriptedLM(lambda _: {"response": "horror"})), pytest.raises(AnswerError):
        rag(query=QUERY)


def test_rag_needs_an_item() -> None:
    with pytest.raises(InputError, match="k is 0"):
        Rag(TASK, Bm25Retriever(HISTORY, TASK), k=0)
