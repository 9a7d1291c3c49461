import asyncio
import inspect
import threading

import dspy
import pytest

from personaagent.data.errors import AnswerError, LMError
from personaagent.programs import PersonaAgent
from personaagent.programs.module import Module, ask, in_thread
from personaagent.programs.scope import Scope, current_scope, measure, within
from personaagent.testing import ScriptedLM

CUT = '{"response": "half an ans'


class Ask(Module):
    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict("query -> response")

    def forward(self, *, query: str) -> dspy.Prediction:
        return dspy.Prediction(response=ask(self.predict, query=query).response)


class AskTwice(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Ask(), Ask()

    def forward(self, *, query: str) -> dspy.Prediction:
        first = self.first(query=query)
        return dspy.Prediction(first=first, response=self.second(query=first.response).response)


def test_a_module_takes_its_own_named_arguments() -> None:
    assert list(inspect.signature(Ask.forward).parameters) == ["self", "query"]
    assert list(inspect.signature(PersonaAgent.forward).parameters) == ["self", "query", "context"]


async def test_a_module_knows_its_spend_and_so_does_the_meter_around_it() -> None:
    with dspy.context(lm=ScriptedLM({"response": "yes"})), measure() as outer:
        answered = [Ask()(query="one"), *await asyncio.gather(*(Ask().acall(query="more") for _ in range(4)))]
    assert [prediction.spend.calls for prediction in answered] == [1] * 5
    assert outer.spend.calls == 5
    assert outer.spend.prompt_tokens == sum(prediction.spend.prompt_tokens for prediction in answered) > 0


def test_a_modules_spend_includes_that_of_its_modules() -> None:
    with dspy.context(lm=ScriptedLM({"response": "yes"})):
        answered = AskTwice()(query="x")
    assert (answered.first.spend.calls, answered.spend.calls) == (1, 2)


def test_dspys_own_usage_tracking_still_works() -> None:
    with dspy.context(lm=ScriptedLM({"response": "yes"}), track_usage=True):
        assert Ask()(query="x").get_lm_usage()


async def test_an_awaited_module_sends_the_same_prompts_in_the_same_order() -> None:
    def lm() -> ScriptedLM:
        return ScriptedLM(lambda request: {"response": f"about {request.input('query')}"})

    here, awaited = lm(), lm()
    with dspy.context(lm=here):
        AskTwice()(query="rain")
    with dspy.context(lm=awaited):
        answered = await AskTwice().acall(query="rain")
    assert answered.response == "about about rain"
    assert [each.text for each in here.requests] == [item.text for item in awaited.requests]


def test_dspys_errors_become_ours() -> None:
    with (
        dspy.context(lm=ScriptedLM([CUT, CUT])),
        pytest.raises(AnswerError, match=r"no readable response: .*half an ans"),
    ):
        Ask()(query="x")
    with dspy.context(lm=ScriptedLM(lambda _: dspy.lm15.ServerError("down"))), pytest.raises(LMError, match="down"):
        Ask()(query="x")


async def test_errors_are_the_same_when_awaited() -> None:
    with dspy.context(lm=ScriptedLM(lambda _: dspy.lm15.ServerError("down"))), pytest.raises(LMError, match="down"):
        await Ask().acall(query="x")


async def test_an_unreadable_answer_is_asked_for_a_second_time_and_shown() -> None:
    for asked in (lambda: Ask()(query="x"), lambda: Ask().acall(query="x")):
        lm = ScriptedLM([CUT, {"response": "yes"}])
        with dspy.context(lm=lm):
            answered = asked()
            answered = await answered if inspect.isawaitable(answered) else answered
        assert answered.response == "yes"
        assert answered.spend.calls == 2
        assert "unreadable_answer" not in lm.requests[0].text
        assert lm.requests[1].input("unreadable_answer") == CUT


def test_an_adapter_that_the_user_configured_is_kept() -> None:
    lm = ScriptedLM({"response": "yes"})
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        Ask()(query="x")
    assert lm.requests[0].wants_headers


async def test_work_in_a_thread_has_the_scope_of_its_caller() -> None:
    with within("here", user_key="maya"):
        assert await in_thread(current_scope) == Scope("maya", ("here",))


async def test_cancelled_work_ends_its_call_and_makes_no_other() -> None:
    asked, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def answer(_: object) -> dict[str, str]:
        loop.call_soon_threadsafe(asked.set)
        released.wait(5)
        return {"response": "yes"}

    lm = ScriptedLM(answer)
    with dspy.context(lm=lm):
        work = asyncio.create_task(AskTwice().acall(query="x"))
        await asked.wait()
        work.cancel()
        await asyncio.sleep(0)
        assert not work.done()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert len(lm.requests) == 1
