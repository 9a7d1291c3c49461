"""The lean preset: recall without an LM, one call, the answer weighed."""

import logging

import dspy
import pytest

from personaagent.data.answer_weights import AnswerWeights, uniform
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store import User
from personaagent.data.task import OPEN
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.testing import ScriptedLM

from .conftest import PLOTS, RATING, TASK

QUERY = TASK.query("A lighthouse keeper paints the sea")
WEIGHTS = AnswerWeights(
    lm="scripted/lm",
    task=TASK.name,
    form="lean:k=4",
    leaning={"comedy": 0.8, "classic": 0.1, "action": 0.1},
    base_rate=uniform(TASK.labels),
)
TORN = {"comedy": 0.5, "classic": 0.3, "action": 0.2}


def agent_of(user: User, persona: Persona | None = None, settings: AgentSettings | None = None) -> PersonaAgent:
    return PersonaAgent(TASK, user.memory, persona=persona, tools=[], settings=settings)


def test_it_is_the_default() -> None:
    assert AgentSettings().preset == "lean"


def test_an_answer_is_one_call_with_what_the_user_answered_to_similar_questions(user: User, lm: ScriptedLM) -> None:
    with dspy.context(lm=lm):
        answered = agent_of(user)(query=QUERY)
    [request] = lm.requests
    assert request.outputs_wanted == ("response",)
    assert (answered.response, answered.spend.calls, answered.trajectory) == ("classic", 1, ())
    assert len(answered.episodes) == len(PLOTS)
    assert all(f'"{plot}" -> "' in request.input("past") for plot in PLOTS)
    assert request.input("query") == TASK.content(QUERY), "its fixed words are said once, for all questions"


def test_what_all_users_share_stands_before_the_persona_and_the_question_last(
    user: User, persona: Persona, lm: ScriptedLM
) -> None:
    with dspy.context(lm=lm):
        agent_of(user, persona)(query=QUERY)
    prompt = lm.requests[0].text
    places = [
        prompt.index(part)
        for part in ("Give the answer that", TASK.query("(query)"), "Watches films", PLOTS[0], TASK.content(QUERY))
    ]
    assert places == sorted(places)


def test_only_sections_that_the_call_can_act_on_are_in_the_prompt(user: User, lm: ScriptedLM) -> None:
    lines = [PersonaLine(section=name, text=f"about {name}") for name in ("profile", "preferences", "style")]
    tools = PersonaLine(section="tool_use", text="about tools")
    with dspy.context(lm=lm):
        agent_of(user, Persona(lines=(*lines, tools)))(query=QUERY)
    assert all(line.text in lm.requests[0].system for line in lines)
    assert "about tools" not in lm.requests[0].system


def test_probabilities_are_those_of_the_lm_where_there_are_no_weights(user: User) -> None:
    with dspy.context(lm=ScriptedLM({"response": TORN})):
        answered = agent_of(user)(query=QUERY)
    assert (answered.response, answered.experts) == ("comedy", None)
    assert answered.lm_probabilities == TORN
    assert answered.probabilities == pytest.approx(TORN)


def test_an_lm_without_probabilities_is_certain(user: User, lm: ScriptedLM) -> None:
    with dspy.context(lm=lm):
        answered = agent_of(user)(query=QUERY)
    assert answered.lm_probabilities == {"comedy": 0.0, "classic": 1.0, "action": 0.0}


def test_weights_take_out_what_the_lm_says_of_every_question(user: User) -> None:
    with dspy.context(lm=ScriptedLM({"response": TORN})):
        answered = agent_of(user, Persona(weights=WEIGHTS))(query=QUERY)
    assert answered.response == "classic"
    assert answered.experts.lm["classic"] > answered.experts.lm["comedy"]
    assert sum(answered.probabilities.values()) == pytest.approx(1)
    assert answered.lm_probabilities == TORN


def test_memory_votes_as_far_as_it_is_believed(user: User) -> None:
    asked = TASK.query(PLOTS[1])
    persona = Persona(weights=WEIGHTS.model_copy(update={"leaning": uniform(TASK.labels), "c": 4.0}))
    with dspy.context(lm=ScriptedLM({"response": TORN})):
        assert agent_of(user, persona)(query=asked).response == "action"
        assert agent_of(user, persona, AgentSettings(votes=False))(query=asked).response != "action"


def test_without_weights_the_persona_has_them_and_they_do_not_count(user: User) -> None:
    agent = agent_of(user, Persona(weights=WEIGHTS), AgentSettings(weights=False))
    with dspy.context(lm=ScriptedLM({"response": TORN})):
        answered = agent(query=QUERY)
    assert (answered.response, answered.experts, agent.persona.weights) == ("comedy", None, WEIGHTS)


def test_weights_of_another_lm_are_left_out_and_the_log_says_so_once(
    user: User, caplog: pytest.LogCaptureFixture
) -> None:
    persona = Persona(weights=WEIGHTS.model_copy(update={"lm": "made-up/of-this-test"}))
    with dspy.context(lm=ScriptedLM({"response": TORN})), caplog.at_level(logging.WARNING):
        answered = [agent_of(user, persona)(query=QUERY) for _ in range(2)]
    assert [(prediction.response, prediction.experts) for prediction in answered] == [("comedy", None)] * 2
    [said] = [message for message in caplog.messages if "answer weights" in message]
    assert "made-up/of-this-test" in said and "scripted/lm" in said


def test_a_rating_is_the_median_of_what_the_lm_says(user: User) -> None:
    shares = {"1": 0.4, "2": 0.15, "3": 0.15, "4": 0.15, "5": 0.15}
    with dspy.context(lm=ScriptedLM({"response": shares})):
        assert PersonaAgent(RATING, user.memory)(query="Fell apart?").response == "2"


def test_a_text_is_written_under_the_persona(user: User, persona: Persona) -> None:
    lm = ScriptedLM({"response": "A quiet film."})
    weighed = persona.model_copy(update={"weights": WEIGHTS})
    with dspy.context(lm=lm):
        answered = PersonaAgent(OPEN, user.memory, persona=weighed)(query="A film?")
    assert answered.response == "A quiet film."
    assert (answered.probabilities, answered.lm_probabilities, answered.experts) == (None, None, None)
    assert "Answer in one word." in lm.requests[0].system


def test_a_saved_program_keeps_its_weights(user: User) -> None:
    agent, loaded = agent_of(user, Persona(weights=WEIGHTS)), agent_of(user)
    loaded.load_state(agent.dump_state())
    with dspy.context(lm=ScriptedLM({"response": TORN})):
        assert loaded(query=QUERY).probabilities == agent(query=QUERY).probabilities


def test_stock_optimizers_find_the_one_predictor_and_its_weights(user: User) -> None:
    [(name, predictor)] = agent_of(user, Persona(weights=WEIGHTS)).named_predictors()
    assert name == "respond.predict"
    assert predictor.fields["response"]["weights"]["comedy"] == min(WEIGHTS.multipliers.values())


def test_a_demo_is_shown_as_an_earlier_turn_and_one_without_an_answer_is_not(user: User, lm: ScriptedLM) -> None:
    agent = agent_of(user)
    agent.respond.predict.demos = [
        dspy.Example(past="(nothing)", query="An old film?", response="classic"),
        dspy.Example(query="A film without an answer?", ground_truth="action"),
    ]
    with dspy.context(lm=lm):
        agent(query=QUERY)
    assert [message.text for message in lm.requests[0].request.messages[:-1]] == [
        "[[ ## past ## ]]\n(nothing)\n\n[[ ## query ## ]]\nAn old film?",
        '{"response": "classic"}',
    ]
