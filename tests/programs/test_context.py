"""What a conversation adds to a question: earlier turns, and a form that the client wants."""

import json
from typing import Any

import dspy
import pytest

from personaagent.data.errors import AnswerError, InputError
from personaagent.data.store import User
from personaagent.data.task import OPEN
from personaagent.programs import PersonaAgent
from personaagent.programs.context import Context, inlined
from personaagent.programs.persona_agent import AgentSettings
from personaagent.testing import ScriptedLM

from .conftest import TASK

FILM = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "year": {"type": "integer"}},
    "required": ["title", "year"],
    "additionalProperties": False,
}


def asked(user: User, lm: ScriptedLM, context: Context, **settings: str) -> dspy.Prediction:
    agent = PersonaAgent(OPEN, user.memory, tools=[], settings=AgentSettings.model_validate(settings))
    with dspy.context(lm=lm):
        return agent(query="And a shorter one?", context=context)


def test_earlier_turns_stand_before_the_question_and_are_not_recalled_by(user: User) -> None:
    lm = ScriptedLM({"response": "Ninety minutes."})
    asked(user, lm, Context("user:\n| A film?"))
    [request] = lm.requests
    assert request.input("conversation") == "user:\n| A film?"
    assert request.user.index("[[ ## conversation ## ]]") < request.user.index("[[ ## query ## ]]")
    assert request.input("query") == "And a shorter one?"


def test_the_paper_has_them_too(user: User) -> None:
    lm = ScriptedLM({"search": "film", "tool": "look_up_profile", "argument": "", "response": "Ninety minutes."})
    asked(user, lm, Context("user:\n| A film?"), preset="paper")
    assert lm.requests[-1].input("conversation") == "user:\n| A film?"


def test_a_label_is_decided_with_them(user: User) -> None:
    lm = ScriptedLM({"response": {"comedy": 0.9, "classic": 0.1}})
    agent = PersonaAgent(TASK, user.memory, tools=[])
    with dspy.context(lm=lm):
        answered = agent(query=TASK.query("A robot dreams"), context=Context("user:\n| A film?"))
    assert (answered.response, lm.requests[0].input("conversation")) == ("comedy", "user:\n| A film?")


def test_an_answer_has_the_form_that_the_client_wants(user: User) -> None:
    lm = ScriptedLM({"response": {"title": "Sea", "year": 1999}})
    answered = asked(user, lm, Context(schema=json.dumps(FILM)))
    assert json.loads(answered.response) == {"title": "Sea", "year": 1999}
    [request] = lm.requests
    form: Any = request.request.config.response_format
    assert form["schema"]["$defs"]["Answer"]["required"] == ["title", "year"]
    assert json.dumps(FILM) in request.system, "an LM that cannot be held to a schema reads it"


def test_one_that_has_not_is_asked_for_again_and_then_is_no_answer(user: User) -> None:
    replies = [{"response": {"title": "Sea"}}, {"response": {"title": "Sea", "year": 1999}}]
    assert json.loads(asked(user, ScriptedLM(replies), Context(schema=json.dumps(FILM))).response)["year"] == 1999
    with pytest.raises(AnswerError):
        asked(user, ScriptedLM([replies[0], replies[0]]), Context(schema=json.dumps(FILM)))


def test_a_schema_of_several_parts_is_taken_and_one_that_never_ends_is_refused() -> None:
    parts = {"Film": FILM, "Films": {"type": "array", "items": {"$ref": "#/$defs/Film"}}}
    assert inlined({"$ref": "#/$defs/Films"}, parts) == {"type": "array", "items": FILM}
    with pytest.raises(InputError, match="refers to itself"):
        inlined({"$ref": "#/$defs/A"}, {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}})
