"""Certifying kinds of change: which of them help, on average over users."""

from collections.abc import Mapping, Sequence

from ..data.change import ChangeKind, Evidence
from .betting import evidence_of


def certify_kinds(
    differences: Mapping[ChangeKind, Sequence[Sequence[float]]], alpha: float = 0.05
) -> dict[ChangeKind, Evidence]:
    """Return the kinds that help, each with its evidence.

    Kinds are tested one after another at e-LOND levels (Xu & Ramdas, AISTATS 2024): with K kinds the level is
    `alpha / K`, times one more than the kinds certified before. The expected share of kinds that do no good among those
    certified is at most `alpha`, and so is the probability of certifying any particular one of them, even though the
    same users score them all. It is not certified that every user gains.

    The order of kinds counts, as a later one has the higher level: fix it, and the order of users, before scoring.

    Args:
        differences: By kind, each user's differences: score with the changes of this kind less without them.
        alpha: The false discovery rate.
    """
    certified: dict[ChangeKind, Evidence] = {}
    for kind, by_user in differences.items():
        least_level = alpha / len(differences)
        # Betting may stop at a level fixed beforehand, as this one is; the level itself follows from the other kinds.
        evidence = evidence_of(by_user, enough=1 / least_level)
        if evidence.wealth >= 1 / (least_level * (len(certified) + 1)):
            certified[kind] = evidence
    return certified
