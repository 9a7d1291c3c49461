"""Acceptance: whether a change goes live, waits in the shadow, or goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, NamedTuple, Protocol

from ..data.change import ChangeKind
from .betting import HarmWatch, bets_until


class Verdict(NamedTuple):
    """What to do with a change, and why in one sentence."""

    action: Literal["accept", "shadow", "retire"]
    """`accept`: be or stay live; `shadow`: be scored without being served; `retire`: be neither."""
    reason: str


class Acceptance(Protocol):
    """Decides on a change from its scores; the same scores give the same verdict."""

    def decide(self, differences: Sequence[float], kind: ChangeKind) -> Verdict:
        """Return the verdict on a change.

        Args:
            differences: Score with the change less without it, for each interaction later than all that the change was
                made from, in time order; kept over alignments.
            kind: What proposed it.
        """
        ...


class Always:
    """Accepts everything, as the paper does."""

    def decide(self, differences: Sequence[float], kind: ChangeKind) -> Verdict:
        """Accept."""
        del differences, kind
        return Verdict("accept", "every change is accepted")


class NoWorse:
    """Accepts what was no worse on average so far, by however little; says nothing of chance."""

    def decide(self, differences: Sequence[float], kind: ChangeKind) -> Verdict:
        """Accept a mean difference of 0 or more, retire any other, and wait for the first score."""
        del kind
        if not differences:
            return Verdict("shadow", "no interaction has been scored yet")
        mean = fmean(differences)
        found = f"mean difference {mean:+.3f} over {_interactions(len(differences))}"
        return Verdict("accept", found) if mean >= 0 else Verdict("retire", found)


@dataclass(frozen=True)
class EProcess:
    """Accepts what has proved to help, or is of a certified kind, and retires what has proved to harm.

    Each line that does no good is ever accepted with probability at most `alpha`, unless its kind is certified; see
    `betting` for what is not guaranteed.

    Args:
        certified: Kinds that a certificate names: they are live from the start, and only watched for harm.
        alpha: A line is accepted once betting on it has made `1 / alpha` of 1.
        harm: Watches it in the shadow, and anew from when it goes live.
    """

    certified: frozenset[ChangeKind] = frozenset()
    alpha: float = 0.05
    harm: HarmWatch = field(default_factory=HarmWatch)

    def decide(self, differences: Sequence[float], kind: ChangeKind) -> Verdict:
        """Return the verdict after the latest difference."""
        promoted = 0 if kind in self.certified else bets_until(differences, 1 / self.alpha)
        if (harmful := self.harm.harmful_after(differences[:promoted])) is not None:
            return Verdict("retire", f"shown to harm by {_interactions(harmful)} in the shadow")
        if promoted is None:
            return Verdict("shadow", f"not yet shown to help by {_interactions(len(differences))}")
        if (harmful := self.harm.harmful_after(differences[promoted:])) is not None:
            return Verdict("retire", f"shown to harm by {_interactions(harmful)} while live")
        if promoted == 0:
            return Verdict("accept", f"kind {kind!r} is certified, and no harm is seen")
        return Verdict("accept", f"shown to help by {_interactions(promoted)}")


def _interactions(count: int) -> str:
    return f"{count} interaction{'' if count == 1 else 's'}"
