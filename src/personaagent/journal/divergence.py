"""Where a replay leaves its run: the first call that was not recorded, beside the call that was."""

import difflib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ..data.call import Call, as_written
from ..data.errors import DivergenceError

if TYPE_CHECKING:
    from ..data.store.journal import Journal

_MAX_LINES = 60


def divergence(journal: "Journal", call: Call) -> DivergenceError:
    """Return the error that shows how `call` differs from the most similar call that its run made in that place."""
    where = f"run {call.run_id}, {call.place or 'outside any place'}, {call.role}"
    same_place = [recorded for recorded in journal.calls(call.run_id) if _place(recorded) == _place(call)]
    if not same_place:
        prompt = "\n".join(_lines(call)[:_MAX_LINES])
        return DivergenceError(f"{where}: the replay makes a call that the run never made here; it asks:\n{prompt}")
    now = _lines(call)
    nearest = max(same_place, key=lambda recorded: difflib.SequenceMatcher(None, _lines(recorded), now).ratio())
    difference = _difference(nearest, call)
    return DivergenceError(f"{where}: the replay diverges here; recorded (-) and now (+):\n{difference}")


def _place(call: Call) -> tuple[str, str, str]:
    return call.user_key, call.role, call.place


def _difference(recorded: Call, replayed: Call) -> str:
    lines = list(difflib.unified_diff(_lines(recorded), _lines(replayed), "recorded", "now", lineterm="", n=1))
    if not lines:
        return f"the prompt is the same, but not who is asked: {_asked(recorded)}, now {_asked(replayed)}"
    return "\n".join(lines[:_MAX_LINES])


def _asked(call: Call) -> str:
    return f"{as_written(call.model)} at {call.endpoint} (call {call.ordinal})"


def _lines(call: Call) -> Sequence[str]:
    return [line for text in _texts(json.loads(call.request)) for line in text.splitlines()]


def _texts(value: Any) -> list[str]:
    """Return every text in a request, in order; a line of its own for anything else that it sets."""
    if isinstance(value, list):
        return [text for item in cast("list[Any]", value) for text in _texts(item)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value).items()
        return [text for name, item in fields for text in ([f"{name}: {item}"] if _is_plain(item) else _texts(item))]
    return [str(value)]


def _is_plain(value: object) -> bool:
    return not isinstance(value, str | list | dict)
