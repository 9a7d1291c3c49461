"""How numbers are written, and the sentences that say what they mean."""

from collections.abc import Sequence

from ..intervals import Estimate
from ..paired import Difference
from .analysis import Compared, TaskAnalysis

_UNKNOWN = "-"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number; one that is not known is a hyphen."""
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"


def with_interval(estimate: Estimate | None) -> str:
    """Write a metric and its 95 % interval, if there is one; one that is not known is a hyphen."""
    if estimate is None:
        return _UNKNOWN
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def signed(difference: Difference) -> str:
    """Write a difference with its sign, and its 95 % interval."""
    if difference.low is None or difference.high is None:
        return f"{difference.value:+.3f}"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def probability(p: float | None) -> str:
    """Write a p-value, if there is one."""
    if p is None:
        return _UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def reading(analysis: TaskAnalysis) -> tuple[str, ...]:
    """Say in plain sentences what the comparison with the baseline shows in the main metric, and what it does not."""
    metric, users = analysis.main_metric, analysis.evaluation.protocol.n_users
    compared = [one for one in analysis.compared if one.metric == metric]
    clear = [one for one in compared if one.is_significant]
    unclear = [one for one in compared if not one.is_significant]
    said = [_clear(one, analysis.baseline) for one in clear]
    if not clear:
        said.append(f"No method differs from {analysis.baseline} in {metric} beyond noise with {_counted(users)}.")
    elif unclear:
        others = "the other method does" if len(unclear) == 1 else f"the other {len(unclear)} methods do"
        said.append(f"Beyond that, {others} not differ from {analysis.baseline} beyond noise with {_counted(users)}.")
    return (*said, *_needed(unclear))


def _clear(compared: Compared, baseline: str) -> str:
    verdict = "better" if compared.is_better else "worse"
    return (
        f"{compared.method} does {verdict} than {baseline}: {compared.metric} {signed(compared.difference)}, "
        f"p = {probability(compared.adjusted_p)} after Holm's correction.".replace("= <", "<")
    )


def _needed(unclear: Sequence[Compared]) -> list[str]:
    """Say how many users it would take to see the differences that were observed."""
    needed = [
        f"{one.method} {one.difference.users_needed:,} ({one.difference.value:+.3f})"
        for one in unclear
        if one.difference.users_needed is not None
    ]
    equal = [one.method for one in unclear if one.difference.value == 0]
    said = [f"Users needed to see the observed differences with 80 % power: {', '.join(needed)}."] if needed else []
    return [*said, *([f"No difference at all was observed of {', '.join(equal)}."] if equal else [])]


def _counted(users: int) -> str:
    return "1 user" if users == 1 else f"{users} users"
