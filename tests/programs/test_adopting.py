"""What another optimizer wrote into a program becomes part of a persona, and what does not."""

import json

import dspy
import pytest

from personaagent.data.answer_weights import AnswerWeights, uniform
from personaagent.data.errors import InputError
from personaagent.data.persona import Adopted, Persona, PersonaLine
from personaagent.data.store import User
from personaagent.data.task import OPEN
from personaagent.personas import adopt
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.programs.decision_lm import DecisionLM
from personaagent.testing import ScriptedLM

from .conftest import RATING, TASK

QUERY = TASK.query("A lighthouse keeper paints the sea")
BETTER = "Decide as a critic would."
TORN = {"comedy": 0.5, "classic": 0.3, "action": 0.2}


@pytest.fixture
def agent(user: User, persona: Persona) -> PersonaAgent:
    return PersonaAgent(TASK, user.memory, persona=persona)


def instruct(agent: PersonaAgent, instructions: str = BETTER) -> None:
    predict = agent.respond.predict
    predict.signature = predict.signature.with_instructions(instructions)


def adopted(agent: PersonaAgent) -> Persona:
    found = agent.learnt("made up")
    assert found is not None
    kept = Persona.from_json(agent.persona.model_copy(update={"adopted": found}).to_json())
    assert kept.adopted == found
    return kept


def system_of(user: User, persona: Persona, settings: AgentSettings | None = None) -> str:
    lm = ScriptedLM({"response": "classic", "search": "films"})
    with dspy.context(lm=lm):
        PersonaAgent(TASK, user.memory, persona=persona, tools=[], settings=settings)(query=QUERY)
    return lm.requests[-1].system


def test_a_program_that_no_optimizer_touched_has_learnt_nothing(user: User, agent: PersonaAgent) -> None:
    assert agent.learnt("made up") is None
    with pytest.raises(InputError, match="nothing to adopt"):
        adopt(user, agent, "GEPA")
    assert user.personas.versions() == ()


def test_only_what_differs_is_kept(agent: PersonaAgent) -> None:
    instruct(agent)
    found = agent.learnt("made up")
    assert found is not None
    assert found.predictors.keys() == {"respond.predict"}
    assert found.predictors["respond.predict"].keys() == {"signature"}


def test_no_lm_and_no_key_is_kept(agent: PersonaAgent) -> None:
    agent.set_lm(dspy.LM("openai/made-up", api_key="made-up-key", api_base="http://127.0.0.1:9/v1"))
    instruct(agent)
    written = adopted(agent).to_json()
    assert "made-up-key" not in written and "127.0.0.1" not in written and '"lm"' not in written


def test_a_decision_in_a_demo_is_kept_as_its_answer(agent: PersonaAgent) -> None:
    lm = ScriptedLM({"response": TORN})
    predict = agent.respond.predict
    with dspy.context(lm=lm):
        decision = predict(past="(nothing)", query="A film?", lm=DecisionLM(lm)).response
    predict.demos = [
        dspy.Example(past="(nothing)", query="A film?", response=decision, augmented=True),
        dspy.Example(query="One without an answer", ground_truth="classic"),
    ]
    [demo] = json.loads(adopted(agent).to_json())["adopted"]["predictors"]["respond.predict"]["demos"]
    assert demo == {"past": "(nothing)", "query": "A film?", "response": "comedy"}


def test_instructions_stand_for_the_lines_that_the_optimizer_saw_and_later_ones_follow(
    user: User, agent: PersonaAgent
) -> None:
    instruct(agent)
    persona = adopted(agent)
    later = PersonaLine(section="preferences", text="Prefers black and white.")
    system = system_of(user, persona.model_copy(update={"lines": (*persona.lines, later)}))
    assert BETTER in system
    assert "Watches films at night." not in system
    assert system.index(BETTER) < system.index("Prefers black and white.")


def test_demos_alone_leave_the_lines_where_they_are(user: User, agent: PersonaAgent) -> None:
    agent.respond.predict.demos = [dspy.Example(past="(nothing)", query="A film?", response="classic")]
    assert system_of(user, adopted(agent)).count("Watches films at night.") == 1


def test_weights_follow_the_persona_unless_the_optimizer_changed_them(user: User, agent: PersonaAgent) -> None:
    even = uniform(TASK.labels)
    weights = AnswerWeights(lm="made-up/other", task=TASK.name, form="f", leaning=even, base_rate=even)
    agent.speak_under(agent.persona.model_copy(update={"weights": weights}))
    instruct(agent)
    refitted = weights.model_copy(update={"leaning": TORN})
    persona = adopted(agent).model_copy(update={"weights": refitted})
    assert PersonaAgent(TASK, user.memory, persona=persona).respond.multipliers == refitted.multipliers

    agent.respond.predict.fields = {"response": {"weights": {"comedy": 0.01}}}
    with dspy.context(lm=ScriptedLM({"response": TORN})):
        answered = PersonaAgent(TASK, user.memory, persona=adopted(agent))(query=QUERY)
    assert answered.response == "classic", "the optimizer's weights count though the persona's are for another LM"


def test_programs_of_another_task_or_preset_speak_under_the_persona_alone(user: User, agent: PersonaAgent) -> None:
    agent.respond.predict.fields = {"response": {"weights": {"comedy": 0.01}}}
    instruct(agent)
    persona = adopted(agent)
    assert BETTER not in system_of(user, persona, AgentSettings(preset="paper", action=False))
    for task in (RATING, OPEN):
        other = PersonaAgent(task, user.memory, persona=persona)
        assert other.respond.predict.fields == {}
        assert "Watches films at night." in other.respond.predict.signature.instructions


def test_a_version_says_where_it_comes_from_and_its_parent(user: User, agent: PersonaAgent, persona: Persona) -> None:
    first = user.personas.add(persona, reason="made up", status="live")
    agent.speak_under(persona, first.number)
    instruct(agent)
    version = adopt(user, agent, "GEPA")
    assert (version.parent, version.reason) == (1, "adopted from GEPA: respond.predict")
    assert user.personas.live == version
    assert isinstance(version.persona.adopted, Adopted)
    assert version.persona.fingerprint != persona.fingerprint


def test_what_is_adopted_can_be_optimized_and_adopted_again(user: User, agent: PersonaAgent) -> None:
    instruct(agent)
    again = PersonaAgent(TASK, user.memory, persona=adopted(agent))
    assert again.learnt("made up") is not None
    instruct(again, "Decide faster.")
    assert "Decide faster." in system_of(user, adopted(again))


def test_a_saved_program_keeps_what_was_adopted(user: User, agent: PersonaAgent) -> None:
    instruct(agent)
    agent.respond.predict.demos = [dspy.Example(past="(nothing)", query="A film?", response="classic")]
    first, loaded = PersonaAgent(TASK, user.memory, persona=adopted(agent)), PersonaAgent(TASK, user.memory)
    loaded.load_state(first.dump_state())
    assert loaded.dump_state() == first.dump_state()


def test_a_program_of_another_user_is_refused(user: User, agent: PersonaAgent) -> None:
    instruct(agent)
    other = User("noah", user.interactions._database, user._index)
    with pytest.raises(InputError, match="another user"):
        adopt(other, agent, "GEPA")
