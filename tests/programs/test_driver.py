import asyncio
import inspect
import threading
import time
from typing import cast

import dspy
import pytest

from personaagent.data.errors import AnswerError, LMError
from personaagent.programs.driver import Body, Call, DrivenModule, arun, run
from personaagent.programs.scope import Scope, current_scope, within
from personaagent.programs.spend import measure
from personaagent.testing import ScriptedLM


def double(number: int) -> int:
    if number < 0:
        raise AnswerError("negative")
    return 2 * number


def body(numbers: list[int]) -> Body[list[int]]:
    first = yield Call(double, {"number": numbers[0]})
    try:
        rest = yield tuple(Call(double, {"number": number}) for number in numbers[1:])
    except AnswerError:
        rest = yield ()
    return [first, *rest]


@pytest.mark.parametrize(("numbers", "doubled"), [([1, 2, 3], [2, 4, 6]), ([1, 2, -3], [2]), ([1], [2])])
def test_a_body_runs_the_same_both_ways(numbers: list[int], doubled: list[int]) -> None:
    assert run(body(numbers)) == doubled
    assert asyncio.run(arun(body(numbers))) == doubled


def test_what_a_body_does_not_catch_leaves_it() -> None:
    with pytest.raises(AnswerError, match="negative"):
        run(body([-1]))
    with pytest.raises(AnswerError, match="negative"):
        asyncio.run(arun(body([-1])))
    with pytest.raises(TypeError):
        asyncio.run(arun(body(cast("list[int]", ["x", None]))))


async def test_calls_of_a_tuple_are_made_at_once() -> None:
    arrived: list[int] = []
    everyone = asyncio.Event()

    class Meeting:
        async def acall(self, number: int) -> int:
            arrived.append(number)
            if len(arrived) == 3:
                everyone.set()
            await asyncio.wait_for(everyone.wait(), timeout=5)
            return number

        def __call__(self, number: int) -> int:
            raise AssertionError("the sync way was taken")

    def meet() -> Body[list[int]]:
        return (yield tuple(Call(Meeting(), {"number": number}) for number in range(3)))

    assert await arun(meet()) == [0, 1, 2]


class Meet(DrivenModule):
    """Ends when somebody else is there too."""

    def __init__(self, place: threading.Barrier, failure: Exception | None = None) -> None:
        super().__init__()
        self._place, self._failure = place, failure

    def body(self) -> Body[dspy.Prediction]:
        yield Call(lambda: self._place.wait(5), {})
        if self._failure:
            raise self._failure
        return dspy.Prediction()


def test_a_function_of_a_tuple_runs_beside_a_module_in_the_same_scope() -> None:
    place = threading.Barrier(2)

    def beside() -> Scope:
        place.wait(5)
        return current_scope()

    def meet() -> Body[Scope]:
        _, scope = yield Call(Meet(place), {}), Call(beside, {}, ("beside",))
        return scope

    with within("here", user_key="maya"):
        assert run(meet()) == Scope("maya", ("here", "beside"))


def test_a_function_beside_a_module_that_fails_has_ended_when_the_body_hears_of_it() -> None:
    place, ended = threading.Barrier(2), threading.Event()

    def beside() -> None:
        place.wait(5)
        time.sleep(0.05)
        ended.set()

    def meet() -> Body[bool]:
        try:
            yield Call(Meet(place, AnswerError("unreadable")), {}), Call(beside, {})
        except AnswerError:
            return ended.is_set()
        return False

    assert run(meet())


class Ask(DrivenModule):
    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict("query -> response")

    def body(self, *, query: str) -> Body[dspy.Prediction]:
        answered = yield Call(self.predict, {"query": query})
        return dspy.Prediction(response=answered.response)


async def test_a_module_knows_its_spend_and_so_does_the_meter_around_it() -> None:
    with dspy.context(lm=ScriptedLM({"response": "yes"})), measure() as outer:
        answered = [Ask()(query="one"), *await asyncio.gather(*(Ask().acall(query="more") for _ in range(4)))]
    assert [one.spend.calls for one in answered] == [1] * 5
    assert outer.spend.calls == 5
    assert outer.spend.prompt_tokens == sum(one.spend.prompt_tokens for one in answered) > 0


def test_dspys_errors_become_ours() -> None:
    with (
        dspy.context(lm=ScriptedLM(["not json", "not json"])),
        pytest.raises(AnswerError, match="no readable response: 'not json'"),
    ):
        Ask()(query="x")
    with dspy.context(lm=ScriptedLM(lambda _: dspy.lm15.ServerError("down"))), pytest.raises(LMError, match="down"):
        Ask()(query="x")


async def test_an_unreadable_answer_is_asked_for_a_second_time_and_shown() -> None:
    for asked in (lambda: Ask()(query="x"), lambda: Ask().acall(query="x")):
        lm = ScriptedLM(["not json", {"response": "yes"}])
        with dspy.context(lm=lm):
            answered = asked()
            answered = await answered if inspect.isawaitable(answered) else answered
        assert answered.response == "yes"
        assert answered.spend.calls == 2
        assert "unreadable_answer" not in lm.requests[0].text
        assert lm.requests[1].input("unreadable_answer") == "not json"


def test_an_adapter_that_the_user_configured_is_kept() -> None:
    lm = ScriptedLM({"response": "yes"})
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        Ask()(query="x")
    assert lm.requests[0].wants_headers
