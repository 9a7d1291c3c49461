"""Acceptance: what goes live, waits or goes, in single cases and over many simulated lines."""

import pytest

from personaagent.data.answer_weights import AnswerWeights, uniform
from personaagent.data.change import Change, Decision, Evidence
from personaagent.data.persona import PersonaLine
from personaagent.optimizers.acceptance import Acceptance, Always, EProcess, NoWorse

from .simulated_users import FULL, SHARE, lines, report

HELPS, HARMS = [0.4] * 10, [-0.4] * 10
CERTIFIED = EProcess(certified=frozenset({"style"}))
LINE = PersonaLine(section="style", text="Answer in one word.")
REPEATS = [SHARE, pytest.param(FULL, marks=pytest.mark.soak)]


@pytest.mark.parametrize(
    ("policy", "differences", "action", "reason"),
    [
        (Always(), HARMS, "accept", "every change is accepted"),
        (NoWorse(), [], "shadow", "no interaction has been scored yet"),
        (NoWorse(), [0.0], "accept", "mean difference +0.000 over 1 interaction"),
        (NoWorse(), [0.3, -0.5], "retire", "mean difference -0.100 over 2 interactions"),
        (EProcess(), [], "shadow", "not yet shown to help by 0 interactions"),
        (EProcess(), [0.4], "shadow", "not yet shown to help by 1 interaction"),
        (EProcess(), HELPS, "accept", "shown to help by 6 interactions"),
        (EProcess(), HARMS, "retire", "shown to harm by 7 interactions in the shadow"),
        (EProcess(), HELPS[:6] + HARMS, "retire", "shown to harm by 7 interactions while live"),
        (CERTIFIED, [], "accept", "kind 'style' is certified, and no harm is seen"),
        (CERTIFIED, [-0.1, 0.1], "accept", "kind 'style' is certified, and no harm is seen"),
        (CERTIFIED, HARMS, "retire", "shown to harm by 7 interactions while live"),
    ],
)
def test_a_change_is_judged_by_its_scores(
    policy: Acceptance, differences: list[float], action: str, reason: str
) -> None:
    assert policy.decide(differences, "style") == (action, reason)


def test_a_certificate_speaks_for_its_kinds_only() -> None:
    assert CERTIFIED.decide([], "rule").action == "shadow"


def test_what_was_accepted_stays_so_while_it_does_no_harm() -> None:
    assert EProcess().decide([*HELPS, *[0.0] * 50], "rule").action == "accept"


@pytest.mark.parametrize("repeats", REPEATS)
def test_of_lines_that_do_nothing_few_are_accepted_and_of_lines_that_help_most(repeats: int) -> None:
    def accepted(effect: float, seed: int) -> float:
        verdicts = [EProcess().decide(line, "rule") for line in lines(effect, 40, repeats, seed)]
        return sum(verdict.action == "accept" for verdict in verdicts) / repeats

    nothing, harm, some, much = accepted(0, 11), accepted(-0.1, 12), accepted(0.1, 13), accepted(0.2, 14)
    report(f"40 interactions, accepted: 0 {nothing:.4f}, -.10 {harm:.4f}, +.10 {some:.3f}, +.20 {much:.3f}")
    assert max(nothing, harm) <= 0.05
    assert much >= 0.9


@pytest.mark.parametrize("repeats", REPEATS)
def test_certified_lines_are_retired_within_40_interactions_if_they_harm_and_rarely_if_not(repeats: int) -> None:
    def retired(effect: float, seed: int) -> float:
        verdicts = [CERTIFIED.decide(line, "style") for line in lines(effect, 40, repeats, seed)]
        return sum(verdict.action == "retire" for verdict in verdicts) / repeats

    harm, nothing, helping = retired(-0.2, 15), retired(0, 16), retired(0.1, 17)
    report(f"40 interactions, retired: harm .20 {harm:.4f}; falsely: 0 {nothing:.4f}, +.10 {helping:.4f}")
    assert harm >= 0.95
    assert max(nothing, helping) <= 0.03


def test_the_same_change_has_the_same_id_whatever_caused_it() -> None:
    change = Change(kind="style", action="add", line=LINE, causes=("i1",))
    again = Change(kind="style", action="add", line=LINE.model_copy(update={"causes": ("i2",)}), causes=("i2",))
    others = [
        Change(kind="rule", action="add", line=LINE),
        Change(kind="style", action="replace", line=LINE, replaces="a"),
        Change(kind="style", action="remove", replaces="a"),
        Change(kind="weights", action="weights", weights=_weights(1.0)),
    ]
    assert change.change_id == again.change_id
    assert len({change.change_id, *(other.change_id for other in others)}) == 5
    fitted_anew = Change(kind="weights", action="weights", weights=_weights(0.5))
    assert fitted_anew.change_id == others[-1].change_id, "the numbers of one LM, task and form change as users come"


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "add"},
        {"action": "add", "line": LINE, "replaces": "a"},
        {"action": "replace", "line": LINE},
        {"action": "remove", "line": LINE},
        {"action": "weights", "line": LINE},
    ],
)
def test_a_change_has_the_fields_of_its_action(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"action '{fields['action']}' takes"):
        Change.model_validate({"kind": "style"} | fields)


def test_a_decision_is_read_back_as_it_was_written() -> None:
    change = Change(kind="style", action="replace", line=LINE, replaces="a", causes=("i1", "i2"))
    decision = Decision(change=change, outcome="live", evidence=Evidence(n=5, mean=0.2, wealth=21.5), reason="It helps")
    assert Decision.from_json(decision.to_json()) == decision


def _weights(a: float) -> AnswerWeights:
    even = uniform(["yes", "no"])
    return AnswerWeights(lm="made-up", task="made-up", form="lean", leaning=even, base_rate=even, a=a)
