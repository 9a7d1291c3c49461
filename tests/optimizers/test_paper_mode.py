"""The invariants of `PersonaAlignment` in paper mode.

1. The student is not changed.   2. The number of LM calls is what Algorithm 1 says.
3. A simulation sees nothing of its own interaction or of later ones, by any way.
4. The whole persona reaches the revision.   5. A rewrite that cannot be read changes nothing.
6. Sync and async give the same.   7. Any number of alignments in a row works.
"""

from typing import Any

import dspy
import pytest

from personaagent.data.errors import InputError, LMError
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store import User
from personaagent.data.task import OPEN
from personaagent.optimizers import PersonaAlignment, examples, initial_persona
from personaagent.optimizers.events import AlignmentEvent, IterationEnded, LossMeasured, Simulated
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.testing import ScriptedLM

from .conftest import HISTORY_LENGTH, SEARCH, canary, interaction

CALLS_OF_AN_ANSWER = 3
BATCH = 3


@pytest.fixture
def agent(user: User) -> PersonaAgent:
    before_the_batch = user.memory.before(user.interactions.all()[-BATCH])
    persona = initial_persona(before_the_batch.statements(), "paper")
    return PersonaAgent(OPEN, user.memory, persona=persona, tools=[], settings=AgentSettings(preset="paper"))


def compiled(agent: PersonaAgent, lm: ScriptedLM, user: User, **parameters: Any) -> PersonaAgent:
    with dspy.context(lm=lm):
        return PersonaAlignment(mode="paper", **parameters).compile(agent, trainset=examples(user.interactions.all()))


def test_the_student_is_not_changed(agent: PersonaAgent, lm: ScriptedLM, user: User) -> None:
    before = agent.dump_state()
    aligned = compiled(agent, lm, user)
    assert agent.dump_state() == before
    assert aligned.persona != agent.persona
    assert aligned._compiled and not agent._compiled


@pytest.mark.parametrize(("n", "iterations"), [(1, 1), (3, 1), (3, 2), (5, 3)])
def test_the_number_of_calls_is_that_of_algorithm_1(
    agent: PersonaAgent, lm: ScriptedLM, user: User, n: int, iterations: int
) -> None:
    aligned = compiled(agent, lm, user, n=n, iterations=iterations)
    assert len(lm.requests) == iterations * (n * CALLS_OF_AN_ANSWER + n + 1)
    assert aligned.alignment.spend.calls == len(lm.requests)
    asked = [request.outputs_wanted[0] for request in lm.requests]
    assert asked.count("critique") == iterations * n
    assert asked.count("profile") == iterations


def test_a_simulation_sees_neither_its_own_answer_nor_anything_later(
    agent: PersonaAgent, lm: ScriptedLM, user: User
) -> None:
    compiled(agent, lm, user)
    simulations = [request for request in lm.requests if request.outputs_wanted[0] not in ("critique", "profile")]
    assert len(simulations) == BATCH * CALLS_OF_AN_ANSWER
    for request in simulations:
        position = next(
            number for number in range(HISTORY_LENGTH) if request.input("query") == interaction(number).query
        )
        hidden = range(position, HISTORY_LENGTH)
        assert not [canary(number) for number in hidden if canary(number) in request.text]
        assert not [
            number for number in hidden if interaction(number).query in request.text.replace(request.input("query"), "")
        ]
    older = [canary(number) for number in range(HISTORY_LENGTH - BATCH)]
    assert any(answer in request.text for answer in older for request in simulations), "what came before is seen"


def test_a_simulation_does_not_see_an_older_copy_of_its_own_query(
    agent: PersonaAgent, lm: ScriptedLM, user: User
) -> None:
    copy = interaction(HISTORY_LENGTH - 1).query.upper()
    user.interactions.add([interaction(20, query=copy, at=interaction(0).at, ground_truth="copiedanswer")])
    compiled(agent, lm, user, n=1)
    simulations = [request for request in lm.requests if request.outputs_wanted[0] not in ("critique", "profile")]
    assert not [request for request in simulations if "copiedanswer" in request.text]


def test_the_whole_persona_and_every_critique_reach_the_revision(
    agent: PersonaAgent, lm: ScriptedLM, user: User
) -> None:
    long = [PersonaLine(section="profile", text=f"Fact number {number} about this user.") for number in range(60)]
    agent.speak_under(Persona(lines=(*agent.persona.lines, *long)))
    compiled(agent, lm, user)
    revision = lm.requests[-1]
    assert revision.input("system_prompt") == agent.persona.text
    for loss_number in range(HISTORY_LENGTH - BATCH, HISTORY_LENGTH):
        assert f"made-up film number {loss_number}?" in revision.input("critiques")


def test_lines_that_stay_keep_their_causes_and_new_lines_are_caused_by_the_batch(
    agent: PersonaAgent, lm: ScriptedLM, user: User
) -> None:
    known = PersonaLine(section="profile", text="Loves quiet films.", causes=("i0", "i1"))
    agent.speak_under(Persona(lines=(known,)))
    causes = {line.text: line.causes for line in compiled(agent, lm, user).persona.lines}
    assert causes["Loves quiet films."] == ("i0", "i1")
    assert causes["Prefers old films."] == ("i10", "i11", "i9")


@pytest.mark.parametrize(
    "rewrite",
    [
        {"profile": {"no": "list"}, "preferences": 3, "tool_use": [], "style": []},
        {"profile": [], "preferences": [], "tool_use": [], "style": [" "]},
    ],
    ids=["unreadable", "empty"],
)
def test_a_rewrite_that_is_no_persona_changes_nothing(
    agent: PersonaAgent, user: User, rewrite: dict[str, object]
) -> None:
    answers = {"search": "x", **SEARCH, "response": "fine", "critique": "Advice."}
    broken = ScriptedLM(answers | rewrite)
    aligned = compiled(agent, broken, user)
    [iteration] = aligned.alignment.iterations
    assert not iteration.accepted and iteration.reason
    assert aligned.persona == agent.persona == aligned.alignment.persona


def test_a_persona_over_the_size_limit_is_not_accepted(agent: PersonaAgent, user: User) -> None:
    endless = [f"{number} " + "word " * 50 for number in range(40)]
    lm = ScriptedLM(
        {"search": "x", **SEARCH, "response": "fine", "critique": "Advice."}
        | {"profile": endless, "preferences": [], "tool_use": [], "style": []}
    )
    [iteration] = compiled(agent, lm, user).alignment.iterations
    assert not iteration.accepted
    assert "limit" in iteration.reason


async def test_async_gives_what_sync_gives(agent: PersonaAgent, lm: ScriptedLM, user: User) -> None:
    trainset = examples(user.interactions.all())
    with dspy.context(lm=lm):
        sync = PersonaAlignment(mode="paper").compile(agent, trainset=trainset)
        concurrent = await PersonaAlignment(mode="paper").acompile(agent, trainset=trainset)
    assert concurrent.persona == sync.persona
    assert concurrent.alignment.iterations == sync.alignment.iterations
    assert concurrent.alignment.spend.calls == sync.alignment.spend.calls


@pytest.mark.slow
def test_two_hundred_alignments_in_a_row_on_one_program(agent: PersonaAgent, lm: ScriptedLM, user: User) -> None:
    trainset = examples(user.interactions.all())
    program = agent
    with dspy.context(lm=lm):
        for _ in range(200):
            program = PersonaAlignment(mode="paper", n=1).compile(program, trainset=trainset)
        assert program(query="And now?").response == "it was fine"
    assert program.dump_state() == program.deepcopy().dump_state()


def test_listeners_hear_every_step_in_order(agent: PersonaAgent, lm: ScriptedLM, user: User) -> None:
    heard: list[AlignmentEvent] = []
    compiled(agent, lm, user, listener=heard.append)
    assert [type(event) for event in heard] == [Simulated] * BATCH + [LossMeasured] * BATCH + [IterationEnded]


def test_a_failing_lm_is_our_error(agent: PersonaAgent, user: User) -> None:
    failing = ScriptedLM(lambda _: dspy.lm15.RateLimitError("busy"))
    with pytest.raises(LMError, match="busy"):
        compiled(agent, failing, user)


def test_without_ground_truth_there_is_nothing_to_align_with(agent: PersonaAgent, lm: ScriptedLM, user: User) -> None:
    unanswered = [one.model_copy(update={"ground_truth": None}) for one in user.interactions.all()]
    with dspy.context(lm=lm), pytest.raises(InputError, match="none of the 12"):
        PersonaAlignment(mode="paper").compile(agent, trainset=examples(unanswered))


def test_what_cannot_be_honoured_is_refused(agent: PersonaAgent, lm: ScriptedLM, user: User) -> None:
    trainset = examples(user.interactions.all())
    with dspy.context(lm=lm), pytest.raises(InputError, match="leave the valset out"):
        PersonaAlignment(mode="paper", n=1).compile(agent, trainset=trainset, valset=trainset)
    with pytest.raises(InputError, match="leave the metric out"):
        PersonaAlignment(mode="paper", metric=lambda _example, _prediction: 1.0)


def test_parameters_are_the_constructors_arguments() -> None:
    optimizer = PersonaAlignment(n=2, iterations=4)
    assert PersonaAlignment(**optimizer.get_params()).get_params() == optimizer.get_params()


@pytest.mark.parametrize("parameters", [{"n": 0}, {"iterations": 0}])
def test_sizes_below_one_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        PersonaAlignment(**parameters)
