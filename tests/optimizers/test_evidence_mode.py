"""The invariants of `PersonaAlignment` in evidence mode.

1. An undecided change never touches the live persona.   2. No change is scored on what it was made from, or on less.
3. Evidence is kept over alignments.   4. A malformed answer changes nothing.   5. The student is not changed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dspy
import pytest

from personaagent.data.answer_weights import AnswerWeights, uniform
from personaagent.data.change import Change
from personaagent.data.errors import BudgetError, InputError
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store import Store, User
from personaagent.data.task import Task
from personaagent.optimizers import EvidenceMode, PersonaAlignment, examples
from personaagent.optimizers.acceptance import Always, EProcess, NoWorse
from personaagent.optimizers.evidence import default_proposers
from personaagent.optimizers.proposers import Case, ProposeRules, ProposeUnfittedWeights, ProposeWeights
from personaagent.optimizers.simulation import LM_PROBABILITIES, SERVED_BY
from personaagent.programs import PersonaAgent
from personaagent.testing import ScriptedLM, ScriptedRequest

TASK = Task(name="moods", kind="label", labels=("calm", "tense"), template="How is it? {content}")
HELPFUL = "If it is about storms: this user answers calm."
FILMS = 12


def film(number: int, **changes: object) -> Interaction:
    fields: dict[str, object] = {
        "interaction_id": f"film-{number}",
        "query": TASK.query(f"Made-up storm number {number}"),
        "ground_truth": "calm",
        "at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number),
        "task": TASK.name,
    }
    return Interaction.model_validate(fields | changes)


@pytest.fixture
def user(store: Store) -> User:
    user = store.add_user("maya")
    user.interactions.add([film(number) for number in range(FILMS)])
    return user


@pytest.fixture
def agent(user: User) -> PersonaAgent:
    return PersonaAgent(TASK, user.memory)


def says(line: str, with_it: str, without: str) -> ScriptedLM:
    """Return an LM that a line of the persona makes answer otherwise."""
    return ScriptedLM(lambda request: {"response": with_it if line in request.system else without})


class Suggest:
    """Proposes one line, from the same causes each time."""

    def __init__(self, text: str, causes: Sequence[str] = ("film-0", "film-1")) -> None:
        line = PersonaLine(section="preferences", text=text, causes=tuple(causes), kind="rule")
        self.change = Change(kind="rule", action="add", line=line, causes=tuple(causes))

    simulates = False

    def applies(self, task: Task) -> bool:
        return task == TASK

    def propose(self, case: Case) -> Sequence[Change]:
        return (self.change,)


class Looks:
    """Has everything simulated and proposes nothing."""

    simulates = True

    def applies(self, task: Task) -> bool:
        return task == TASK

    def propose(self, case: Case) -> Sequence[Change]:
        return ()


def align(agent: PersonaAgent, lm: dspy.LM, user: User, mode: EvidenceMode, n: int = 9) -> PersonaAgent:
    with dspy.context(lm=lm):
        return PersonaAlignment(mode=mode, n=n).compile(agent, trainset=examples(user.interactions.all()))


def test_an_undecided_change_waits_in_the_shadow_and_the_student_stays(agent: PersonaAgent, user: User) -> None:
    before = agent.dump_state()
    aligned = align(agent, says(HELPFUL, "calm", "tense"), user, EvidenceMode([Suggest(HELPFUL)]), n=3)
    [decision] = aligned.alignment.decisions
    assert decision.outcome == "shadow"
    assert aligned.persona == agent.persona
    assert agent.dump_state() == before


def test_a_line_that_proves_itself_over_alignments_goes_live(agent: PersonaAgent, user: User) -> None:
    mode, lm = EvidenceMode([Suggest(HELPFUL)]), says(HELPFUL, "calm", "tense")
    outcomes = []
    for _ in range(8):
        agent = align(agent, lm, user, mode)
        outcomes.append(agent.decisions[0].outcome)
        user.interactions.add([film(len(user.interactions.all()) + more) for more in range(9)])
    assert outcomes[0] == "shadow" and outcomes[-1] == "live"
    assert HELPFUL in agent.persona.text
    differences = agent.decisions[0].differences
    assert set(differences.values()) == {1.0}
    assert not {"film-0", "film-1"} & set(differences), "its causes never score it"


def test_a_certified_kind_is_live_at_once_and_retired_when_it_harms(agent: PersonaAgent, user: User) -> None:
    mode = EvidenceMode([Suggest(HELPFUL)], EProcess(frozenset({"rule"})))
    harmful = says(HELPFUL, "tense", "calm")
    agent = align(agent, harmful, user, mode, n=1)
    assert agent.decisions[0].outcome == "live" and HELPFUL in agent.persona.text
    for _ in range(8):
        user.interactions.add([film(len(user.interactions.all()) + more) for more in range(9)])
        agent = align(agent, harmful, user, mode)
    assert agent.decisions[0].outcome == "retired"
    assert HELPFUL not in agent.persona.text


def test_a_change_is_scored_only_on_what_is_later_than_all_its_causes(agent: PersonaAgent, user: User) -> None:
    suggested = Suggest(HELPFUL, causes=("film-0", f"film-{FILMS - 1}"))
    aligned = align(agent, says(HELPFUL, "calm", "tense"), user, EvidenceMode([suggested], Always()))
    assert aligned.decisions[0].differences == {}


def test_weights_are_scored_from_what_the_lm_has_said_already(agent: PersonaAgent, user: User) -> None:
    lm = ScriptedLM(lambda _request: {"response": "tense"})
    shares = uniform(TASK.labels)
    weights = AnswerWeights(lm=lm.model, task=TASK.name, form="lean:k=4", leaning=shares, base_rate=shares, a=0.05)
    aligned = align(agent, lm, user, EvidenceMode([ProposeWeights(weights)], NoWorse()), n=4)
    assert len(lm.requests) == 4, "one call for each simulation, none for the weights"
    [decision] = aligned.decisions
    assert decision.outcome == "live" and decision.evidence.mean > 0
    assert aligned.persona.weights == weights
    with dspy.context(lm=lm):
        assert aligned(query=TASK.query("Another storm")).response == "calm"


def test_the_evidence_for_weights_is_kept_while_their_numbers_are_fitted_anew(agent: PersonaAgent, user: User) -> None:
    lm, shares = ScriptedLM(lambda _request: {"response": "tense"}), uniform(TASK.labels)
    scored: list[int] = []
    for users in (3, 5):
        weights = AnswerWeights(
            lm=lm.model, task=TASK.name, form="lean:k=4", leaning=shares, base_rate=shares, a=0.5, users=users
        )
        agent = align(agent, lm, user, EvidenceMode([ProposeWeights(weights)]), n=2)
        scored.append(len(agent.decisions[0].differences))
        user.interactions.add([film(40 + users)])
    [decision] = agent.decisions
    assert scored == [2, 3]
    assert decision.change.weights is not None and decision.change.weights.users == 5


def test_live_weights_take_the_place_of_counts_in_words(agent: PersonaAgent, user: User) -> None:
    counted = PersonaLine(section="profile", text="Answered calm 12 times.", causes=("film-0",), kind="statement")
    agent.speak_under(Persona(lines=(counted,)))
    lm = ScriptedLM(lambda _request: {"response": "tense"})
    shares = uniform(TASK.labels)
    weights = AnswerWeights(lm=lm.model, task=TASK.name, form="lean:k=4", leaning=shares, base_rate=shares)
    aligned = align(agent, lm, user, EvidenceMode([ProposeWeights(weights)], Always()), n=1)
    assert aligned.persona.lines == ()


def test_a_served_answer_is_its_own_simulation(agent: PersonaAgent, user: User) -> None:
    lm = ScriptedLM(lambda _request: {"response": "tense"})
    served = {SERVED_BY: lm.model, LM_PROBABILITIES: {"calm": 0.3, "tense": 0.7}}
    user.interactions.add([film(20, response="tense", persona_version=4, metadata=served)])
    agent.persona_version = 4
    user.interactions.add([film(21)])
    aligned = align(agent, lm, user, EvidenceMode(()), n=1)
    assert lm.requests == (), "it was paid when it was served"
    assert [one.interaction_id for one in aligned.alignment.simulations] == ["film-20"]
    assert aligned.alignment.simulations[0].lm_probabilities == {"calm": 0.3, "tense": 0.7}


def test_examples_without_interactions_are_a_trainset(agent: PersonaAgent, user: User) -> None:
    plain = [
        dspy.Example(query=TASK.query(f"A new storm {number}"), ground_truth="calm").with_inputs("query")
        for number in range(3)
    ]
    lm = ScriptedLM(lambda _request: {"response": "calm"})
    with dspy.context(lm=lm):
        aligned = PersonaAlignment(mode=EvidenceMode([Looks()]), n=3).compile(agent, trainset=plain)
    assert [one.interaction_id for one in aligned.alignment.simulations] == ["example-1", "example-2", "example-3"]
    assert all("Made-up storm" in request.user for request in lm.requests), "memory is older than new examples"
    with pytest.raises(InputError, match="give query, ground_truth"):
        PersonaAlignment().compile(agent, trainset=[dspy.Example(question="?").with_inputs("question")])


def test_a_valset_scores_and_proposes_nothing(agent: PersonaAgent, user: User) -> None:
    held_out = examples([film(number) for number in range(30, 34)])
    with dspy.context(lm=says(HELPFUL, "calm", "tense")):
        aligned = PersonaAlignment(mode=EvidenceMode([Suggest(HELPFUL)]), n=1).compile(
            agent, trainset=examples(user.interactions.all()), valset=held_out
        )
    assert {f"film-{number}" for number in range(30, 34)} <= set(aligned.decisions[0].differences)


def test_a_metric_of_ones_own_scores(agent: PersonaAgent, user: User) -> None:
    def half(_example: dspy.Example, prediction: dspy.Prediction) -> float:
        return 0.5 if prediction.response == "calm" else 0.0

    lm, trainset = says(HELPFUL, "calm", "tense"), examples(user.interactions.all())
    with dspy.context(lm=lm):
        mode = EvidenceMode([Suggest(HELPFUL)])
        aligned = PersonaAlignment(mode=mode, metric=half, n=9).compile(agent, trainset=trainset)
        with pytest.raises(InputError, match="from 0 to 1"):
            PersonaAlignment(mode=mode, metric=lambda *_: 7.0, n=9).compile(agent, trainset=trainset)
    assert set(aligned.decisions[0].differences.values()) == {0.5}


def test_where_the_budget_ends_nothing_is_decided(agent: PersonaAgent, user: User) -> None:
    def spent(_request: ScriptedRequest) -> dict[str, object]:
        raise BudgetError("no more calls")

    aligned = align(agent, ScriptedLM(spent), user, EvidenceMode([Suggest(HELPFUL)], Always()))
    assert aligned.alignment.stopped == "no more calls"
    assert aligned.persona == agent.persona


def test_where_nothing_can_be_proposed_nothing_is_simulated(agent: PersonaAgent, user: User) -> None:
    lm = ScriptedLM(lambda _request: {"response": "calm"}, model="embedded/made-up")
    written = PersonaAgent(TASK.model_copy(update={"kind": "text", "labels": ()}), user.memory)
    aligned = align(written, lm, user, EvidenceMode())
    assert lm.requests == (), "an embedded LM is asked for no rules, and a text has no weights"
    assert aligned.alignment.iterations[0].reason == "nothing new was proposed"


@pytest.mark.parametrize(
    ("model", "proposers"),
    [("embedded/made-up", [ProposeUnfittedWeights]), ("made-up/large", [ProposeUnfittedWeights, ProposeRules])],
)
def test_the_proposers_suit_the_lm(agent: PersonaAgent, model: str, proposers: list[type]) -> None:
    with dspy.context(lm=ScriptedLM({"response": "calm"}, model=model)):
        assert [type(proposer) for proposer in default_proposers(agent)] == proposers


def test_weights_are_made_from_the_batch_once(agent: PersonaAgent, user: User) -> None:
    lm = ScriptedLM({"response": "calm"}, model="embedded/made-up")
    again = align(align(agent, lm, user, EvidenceMode(), n=3), lm, user, EvidenceMode(), n=3)
    with dspy.context(lm=lm):
        assert default_proposers(again) == ()
    assert [decision.change.kind for decision in again.decisions] == ["weights"]


def test_an_answer_that_cannot_be_read_is_a_simulation_without_a_response(agent: PersonaAgent, user: User) -> None:
    aligned = align(agent, ScriptedLM(lambda _request: "neither of the two"), user, EvidenceMode([Looks()]), n=2)
    assert [one.response for one in aligned.alignment.simulations] == [None, None]
    assert aligned.persona == agent.persona


def test_weights_of_a_task_of_which_nothing_is_known_are_made_from_the_batch(agent: PersonaAgent, user: User) -> None:
    lm = ScriptedLM(lambda _request: {"response": "tense"})
    aligned = align(agent, lm, user, EvidenceMode([ProposeUnfittedWeights("lean:k=4")], Always()), n=3)
    assert len(lm.requests) == 3, "one call for each simulation"
    weights = aligned.persona.weights
    assert weights is not None
    assert (weights.a, weights.b, weights.c, weights.users) == (1.0, 1.0, 0.0, 0)
    assert weights.base_rate == uniform(TASK.labels)
    assert weights.leaning["tense"] > weights.leaning["calm"], "what the LM said, not what was true"
