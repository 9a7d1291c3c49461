"""The paper's preset: three modules that each ask the LM under the whole persona."""

import json
from typing import Any

import dspy
import pytest

from personaagent.data.memory.user_memory import UserMemory
from personaagent.data.persona import Persona
from personaagent.data.statement import Episode
from personaagent.data.store import User
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.testing import ScriptedLM

from .conftest import PLOTS, RATING, TASK

QUERY = TASK.query("A lighthouse keeper paints the sea")
PAPER = AgentSettings(preset="paper")


@pytest.fixture
def agent(user: User, persona: Persona) -> PersonaAgent:
    return PersonaAgent(TASK, user.memory, persona=persona, version=7, tools=[], settings=PAPER)


def test_it_recalls_uses_tools_and_responds_under_the_persona(
    agent: PersonaAgent, lm: ScriptedLM, persona: Persona
) -> None:
    with dspy.context(lm=lm):
        answered = agent(query=QUERY)
    assert answered.response == "classic"
    assert [request.outputs_wanted[0] for request in lm.requests] == ["search", "tool", "response"]
    for request in lm.requests:
        assert all(line.text in request.system for line in persona.lines)
    assert answered.persona_version == 7
    assert len(answered.episodes) == len(PLOTS)
    assert [action.tool for action in answered.trajectory] == ["search_memory"]
    assert answered.spend.calls == 3
    assert answered.spend.prompt_tokens > 0


def test_its_answers_are_written_and_have_no_probabilities(user: User, answers: dict[str, object]) -> None:
    lm = ScriptedLM({**answers, "response": 4})
    with dspy.context(lm=lm):
        answered = PersonaAgent(RATING, user.memory, tools=[], settings=PAPER)(query="Fell apart?")
    assert (answered.response, answered.probabilities, answered.lm_probabilities) == ("4", None, None)
    wanted: Any = lm.requests[-1].request.config.response_format
    assert list(wanted["schema"]["properties"]["response"]["enum"]) == [1, 2, 3, 4, 5]


def test_where_nothing_is_remembered_nothing_else_is_looked_for(
    user: User, answers: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []
    recall = UserMemory.recall

    def noted(memory: UserMemory, query: str, k: int) -> tuple[Episode, ...]:
        searches.append(query)
        return recall(memory, query, k)

    monkeypatch.setattr(UserMemory, "recall", noted)
    before_all = user.memory.before(user.interactions.all()[0])
    agent = PersonaAgent(TASK, before_all, tools=[], settings=AgentSettings(preset="paper", action=False))
    with dspy.context(lm=ScriptedLM(answers)):
        assert agent(query=QUERY).episodes == ()
    assert searches == [TASK.content(QUERY)]


def test_unreadable_searches_leave_the_query_as_the_search(agent: PersonaAgent, answers: dict[str, object]) -> None:
    with dspy.context(lm=ScriptedLM({**answers, "search": ["no", "text"]})):
        assert agent(query=QUERY).episodes


def test_no_tool_takes_a_user_id(agent: PersonaAgent) -> None:
    assert agent.tool_use is not None
    schema = json.dumps(dspy.JSONAdapter().format(agent.tool_use.base, [], {"query": "q", "observations": "o"}))
    assert "user_id" not in schema


def test_as_of_an_interaction_tools_see_only_what_came_before(user: User, agent: PersonaAgent, lm: ScriptedLM) -> None:
    third = user.interactions.all()[2]
    with dspy.context(lm=lm):
        answered = agent.as_of(third)(query=third.query)
    assert "Two bakers" not in answered.trajectory[0].observation


def test_stock_optimizers_find_every_predictor_and_its_persona(agent: PersonaAgent, persona: Persona) -> None:
    predictors = dict(agent.named_predictors())
    assert sorted(predictors) == ["recall_memory.predict", "respond.predict", "tool_use.predict"]
    assert all(persona.text in predictor.signature.instructions for predictor in predictors.values())


def test_tools_are_used_until_ready_and_at_least_as_often_as_the_setting_says(
    user: User, answers: dict[str, object]
) -> None:
    settings = AgentSettings(preset="paper", min_tools=3, max_steps=5)
    eager = PersonaAgent(TASK, user.memory, tools=[], settings=settings)
    with dspy.context(lm=ScriptedLM(answers)):
        assert len(eager(query=QUERY).trajectory) == 2
    endless = PersonaAgent(TASK, user.memory, tools=[], settings=AgentSettings(preset="paper", max_steps=3))
    with dspy.context(lm=ScriptedLM({**answers, "ready_to_answer": False})):
        assert len(endless(query=QUERY).trajectory) == 3


def test_an_unknown_tool_or_an_unreadable_choice_is_an_observation(user: User, answers: dict[str, object]) -> None:
    names = iter(["delete_everything", "delete_everything", "search_memory"])
    agent = PersonaAgent(TASK, user.memory, tools=[], settings=AgentSettings(preset="paper", max_steps=4))
    with dspy.context(lm=ScriptedLM({**answers, "tool": lambda _: next(names)})):
        answered = agent(query=QUERY)
    assert [action.failed for action in answered.trajectory] == [True, False]
    assert answered.response == "classic"


def test_without_memory_no_tool_can_look_there(user: User) -> None:
    lookups = ScriptedLM({"tool": "search_wikipedia", "argument": "lighthouses", "response": "classic"})
    settings = AgentSettings(preset="paper", memory=False)
    with dspy.context(lm=lookups):
        PersonaAgent(TASK, user.memory, tools=[_encyclopedia()], settings=settings)(query=QUERY)
    assert [request.outputs_wanted[0] for request in lookups.requests] == ["tool", "response"]
    assert "search_memory" not in lookups.requests[0].text


def test_without_action_it_recalls_and_responds(user: User, lm: ScriptedLM) -> None:
    agent = PersonaAgent(TASK, user.memory, tools=[], settings=AgentSettings(preset="paper", action=False))
    with dspy.context(lm=lm):
        answered = agent(query=QUERY)
    assert [request.outputs_wanted[0] for request in lm.requests] == ["search", "response"]
    assert answered.trajectory == ()
    assert PLOTS[0] in lm.requests[-1].text


def _encyclopedia() -> dspy.Tool:
    def search_wikipedia(search: str) -> str:
        """Find a page."""
        return f"a page on {search}"

    return dspy.Tool(search_wikipedia)
