"""ScriptedLM answers through DSPy's own adapters; what it has no answer for stops the test."""

import asyncio
from typing import Literal

import dspy
import pytest
from dspy.experimental import Choice
from dspy.lm15 import RateLimitError

from personaagent.programs.decision_lm import DecisionLM
from personaagent.testing import RefusingLM, ScriptedLM, UnscriptedCallError

ADAPTERS = [
    dspy.JSONAdapter(),
    dspy.ChatAdapter(use_json_adapter_fallback=False),
]


class Rate(dspy.Signature):
    """Rate the review."""

    review: str = dspy.InputField()
    tags: list[str] = dspy.OutputField()
    stars: Literal[1, 2, 3] = dspy.OutputField()


class Settle(dspy.Signature):
    """Return free-form settings, which no JSON schema can describe."""

    query: str = dspy.InputField()
    settings: dict[str, int] = dspy.OutputField()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_mapping_answers_by_output_field_in_the_form_the_adapter_wants(adapter: dspy.Adapter) -> None:
    lm = ScriptedLM({"tags": ["dark", "slow"], "stars": 2, "response": "unused here"})
    with dspy.context(lm=lm, adapter=adapter):
        rated = dspy.Predict(Rate)(review="A long night.")
    assert (rated.tags, rated.stars) == (["dark", "slow"], 2)
    assert lm.requests[0].outputs_wanted == ("tags", "stars")
    assert lm.requests[0].input("review") == "A long night."
    assert "Rate the review." in lm.requests[0].system


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_fields_without_a_schema_are_read_from_the_prompt(adapter: dspy.Adapter) -> None:
    lm = ScriptedLM({"settings": {"k": 4}})
    with dspy.context(lm=lm, adapter=adapter):
        assert dspy.Predict(Settle)(query="q").settings == {"k": 4}
    assert lm.requests[0].outputs_wanted == ("settings",)


def test_a_value_may_be_a_function_of_the_request() -> None:
    lm = ScriptedLM({"response": lambda request: request.input("query").upper()})
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        assert dspy.Predict("query -> response")(query="two\n\nlines").response == "TWO\n\nLINES"


class Decide(dspy.Signature):
    """Decide."""

    film: str = dspy.InputField()
    tag: str = dspy.OutputField(desc="the tag")


DECIDE = Decide.with_updated_fields("tag", type_=Choice[("comedy", ""), ("classic", "")])


def decided(answer: object) -> Choice:
    lm = ScriptedLM({"tag": answer})
    with dspy.context(lm=lm):
        return dspy.Predict(DECIDE)(film="A parrot robs a bank.", lm=DecisionLM(lm)).tag


def test_a_decision_may_have_probabilities_and_those_left_out_are_0() -> None:
    assert decided({"comedy": 0.7, "classic": 0.3}).probabilities == {"comedy": 0.7, "classic": 0.3}
    assert decided({"classic": 1.0}).probabilities == {"comedy": 0.0, "classic": 1.0}
    assert decided(lambda request: {"comedy": 0.6, "classic": 0.4}).value == "comedy"


def test_a_decision_may_be_an_answer_alone() -> None:
    assert decided("classic").probabilities == {"comedy": 0.0, "classic": 1.0}


def test_probabilities_of_an_answer_that_is_not_allowed_are_refused() -> None:
    with pytest.raises(UnscriptedCallError, match="horror"):
        decided({"horror": 1.0})


def test_a_sequence_is_used_up_in_order() -> None:
    lm = ScriptedLM(['{"response": "first"}', {"response": "second"}, lambda _: {"response": "third"}])
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        answers = [dspy.Predict("query -> response")(query="q").response for _ in range(3)]
        with pytest.raises(UnscriptedCallError):
            dspy.Predict("query -> response")(query="one too many")
    assert answers == ["first", "second", "third"]


def test_an_unscripted_call_shows_what_was_asked() -> None:
    lm = ScriptedLM({"critique": "vague"})
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()), pytest.raises(UnscriptedCallError) as caught:
        dspy.Predict("query -> response")(query="Who wrote it?")
    assert "response" in str(caught.value)
    assert "Who wrote it?" in str(caught.value)


def test_an_exception_in_a_script_is_the_lm_failing() -> None:
    with (
        dspy.context(lm=ScriptedLM([RateLimitError("busy")]), adapter=dspy.JSONAdapter()),
        pytest.raises(dspy.LMRateLimitError, match="busy"),
    ):
        dspy.Predict("query -> response")(query="q")


def test_one_answer_must_be_written_as_a_list() -> None:
    with pytest.raises(TypeError, match=r"\[answer\]"):
        ScriptedLM("Paris")


async def test_concurrent_calls_each_get_their_own_answer() -> None:
    lm = ScriptedLM(lambda request: {"response": request.input("query")})
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        answers = await asyncio.gather(*(dspy.Predict("query -> response").acall(query=f"q{i}") for i in range(20)))
    assert [answer.response for answer in answers] == [f"q{i}" for i in range(20)]
    assert len(lm.requests) == 20


def test_token_counts_are_filled_in_and_repeat() -> None:
    def usage() -> dict[str, dict[str, int]]:
        with dspy.context(lm=ScriptedLM({"response": "x" * 40}), adapter=dspy.JSONAdapter(), track_usage=True):
            return dspy.Predict("query -> response")(query="q").get_lm_usage() or {}

    assert usage()["scripted/lm"]["prompt_tokens"] > 0
    assert usage()["scripted/lm"]["completion_tokens"] > 10
    assert usage() == usage()


def test_copies_of_a_program_share_the_record() -> None:
    lm = ScriptedLM({"response": "same"})
    program = dspy.Predict("query -> response")
    program.set_lm(lm)
    with dspy.context(adapter=dspy.JSONAdapter()):
        program.deepcopy()(query="q")
    assert len(lm.requests) == 1


def test_the_refusing_lm_says_what_to_do() -> None:
    with (
        dspy.context(lm=RefusingLM(), adapter=dspy.JSONAdapter()),
        pytest.raises(UnscriptedCallError, match="ScriptedLM") as caught,
    ):
        dspy.Predict("query -> response")(query="Who wrote it?")
    assert "Who wrote it?" in str(caught.value)
