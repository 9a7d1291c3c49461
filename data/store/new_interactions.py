"""What an interaction must be to be stored."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ..errors import InputError
from ..interaction import Interaction
from .rows import check_id

_AHEAD = timedelta(days=1)
"""How far in the future an interaction may be dated: clocks differ."""
_TEXTS = ("query", "ground_truth", "response", "task")


def check_new(interactions: Sequence[Interaction]) -> None:
    """Refuse interactions that cannot be stored.

    Raises:
        InputError: An id cannot be one or occurs twice, a date is in the future, or a text has a NUL.
    """
    seen: set[str] = set()
    latest = datetime.now(UTC) + _AHEAD
    for one in interactions:
        check_id("interaction id", one.interaction_id)
        if one.interaction_id in seen:
            raise InputError(f"interaction {one.interaction_id!r} occurs twice in what was added: ids must differ")
        seen.add(one.interaction_id)
        if one.at is not None and one.at > latest:
            raise InputError(f"interaction {one.interaction_id!r}: it is dated {one.at:%Y-%m-%d}, in the future")
        for field in _TEXTS:
            if "\0" in (getattr(one, field) or ""):
                raise InputError(f"interaction {one.interaction_id!r}: its {field} has a NUL character: remove it")
