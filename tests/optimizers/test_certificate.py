"""Certificates: which kinds of change are certified, held to online-fdr and to simulation."""

from datetime import UTC, datetime

import numpy as np
import pytest
from online_fdr.core.abstract.abstract_gamma_seq import AbstractGammaSequence
from online_fdr.e_values import ELond

from personaagent.data.change import Certificate, ChangeKind, Evidence
from personaagent.optimizers.betting import certify_kinds, wealth

from .simulated_users import FULL, SHARE, families, report

REPEATS = [SHARE, pytest.param(FULL, marks=pytest.mark.soak)]
KINDS: tuple[ChangeKind, ...] = ("weights", "confusion", "style", "rule")
ALPHA = 0.05
Families = dict[ChangeKind, list[list[float]]]


class Even(AbstractGammaSequence):
    """Every kind has the same share of alpha."""

    def calc_gamma(self, j: int, **_: object) -> float:
        del j
        return 1 / len(KINDS)


def steady(difference: float, users: int = 30) -> list[list[float]]:
    return [[difference] * 3 for _ in range(users)]


def test_a_kind_that_helps_is_certified_with_its_evidence_and_others_are_not() -> None:
    certified = certify_kinds({"weights": steady(0.2), "style": steady(0.0), "rule": steady(-0.2)})
    assert list(certified) == ["weights"]
    evidence = certified["weights"]
    assert (evidence.n, evidence.mean) == (30, pytest.approx(0.2))
    assert evidence.wealth >= 3 / ALPHA


def test_without_kinds_or_users_nothing_is_certified() -> None:
    assert certify_kinds({}) == certify_kinds({"weights": []}) == certify_kinds({"weights": [[], []]}) == {}


def test_what_is_certified_lowers_the_bar_for_what_follows() -> None:
    weak = next(steady(0.2, users) for users in range(1, 30) if 2 / ALPHA <= wealth(steady(0.2, users)) < 4 / ALPHA)
    first_kinds: Families = {"weights": steady(0.2), "confusion": steady(0.2), "style": steady(0.2)}
    assert "rule" not in certify_kinds({**dict.fromkeys(KINDS, steady(0.0)), "rule": weak})
    assert "rule" in certify_kinds({**first_kinds, "rule": weak})


def test_the_levels_are_those_of_e_lond() -> None:
    generator = np.random.default_rng(21)
    certified = 0
    for _ in range(300):
        effects = generator.choice([0, 0.1, 0.2], len(KINDS))
        seeds = generator.integers(1 << 30, size=len(KINDS)).tolist()
        drawn: Families = {
            kind: next(families(effect, 40, 3, 1, seed))
            for kind, effect, seed in zip(KINDS, effects, seeds, strict=True)
        }
        lond = ELond(alpha=ALPHA, gamma_seq=Even())
        expected = [kind for kind in KINDS if lond.test_one(wealth(drawn[kind], enough=len(KINDS) / ALPHA))]
        assert list(certify_kinds(drawn, ALPHA)) == expected
        certified += len(expected)
    assert 300 < certified < 900


@pytest.mark.parametrize("repeats", REPEATS)
def test_a_kind_without_effect_is_rarely_certified_and_one_that_helps_mostly(repeats: int) -> None:
    def share(effect: float, users: int, seed: int) -> float:
        found = [certify_kinds({"rule": family}, ALPHA) for family in families(effect, users, 3, repeats, seed)]
        return sum(map(bool, found)) / repeats

    nothing, helping, more_users = share(0, 40, 22), share(0.1, 40, 23), share(0.1, 60, 24)
    report(f"one kind, certified: no effect {nothing:.4f}; +.10: 40 users {helping:.4f}, 60 users {more_users:.4f}")
    assert nothing <= ALPHA
    assert helping >= 0.8
    assert more_users >= 0.9


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("effects", [(0.0, 0.0, 0.0, 0.0), (0.1, 0.0, 0.0, 0.0), (0.1, 0.1, 0.1, 0.1)], ids=str)
def test_of_four_kinds_few_are_certified_that_do_nothing(effects: tuple[float, ...], repeats: int) -> None:
    by_kind = [families(effect, 40, 3, repeats, 30 + position) for position, effect in enumerate(effects)]
    shares = [_shares(effects, kinds) for kinds in zip(*by_kind, strict=True)]
    false, right = np.mean(shares, axis=0)
    report(f"four kinds, effects {effects}: false discoveries {false:.4f}, of those that help certified {right:.3f}")
    assert false <= ALPHA


def _shares(effects: tuple[float, ...], kinds: tuple[list[list[float]], ...]) -> tuple[float, float]:
    """Return the share of what was certified that does nothing, and the share of what helps that was certified."""
    certified = certify_kinds(dict(zip(KINDS, kinds, strict=True)), ALPHA)
    helping = {kind for kind, effect in zip(KINDS, effects, strict=True) if effect > 0}
    false = len(certified.keys() - helping) / max(len(certified), 1)
    return false, len(certified.keys() & helping) / max(len(helping), 1)


def test_a_certificate_speaks_for_its_own_lm_task_and_form() -> None:
    certificate = Certificate(
        lm="made-up",
        task="made-up",
        form="lean",
        kinds={"weights": Evidence(n=40, mean=0.1, wealth=25.0)},
        users=40,
        version="0.0",
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert certificate.kinds_for("made-up", "made-up", "lean") == {"weights"}
    assert certificate.kinds_for("another", "made-up", "lean") == frozenset()
    assert certificate.kinds_for("made-up", "made-up", "rag:k=4") == frozenset()
    assert Certificate.from_json(certificate.to_json()) == certificate
    of_any = certificate.model_copy(update={"task": ""})
    assert of_any.kinds_for("made-up", "another", "lean") == {"weights"}
