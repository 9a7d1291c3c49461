"""What an LM's text says: a JSON object, whatever stands around it, or the one answer itself without any JSON."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

_MARKS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)?(?!\w)")
_IN_PART = re.compile(r"[¼½¾]|\bhalf\b", re.IGNORECASE)

Answer = TypeVar("Answer")


class CutError(ValueError):
    """A text ends in the middle of its JSON object."""


def without_thoughts(text: str) -> str:
    """Return what follows the thoughts that some LMs write into their text; nothing if these do not end."""
    if text.lstrip().startswith("{"):
        return text
    _, end, after = text.rpartition("</think>")
    if end:
        return after
    return "" if text.lstrip().startswith("<think>") else text


def object_in(text: str, names: Collection[str]) -> str | None:
    """Return the first JSON object of a text, as it is written; None if none begins.

    What is not quite JSON (single quotes, a comma too many) is returned from its brace to the end of the text.

    Args:
        text: What an LM wrote.
        names: The fields that it may have.

    Raises:
        CutError: The text ends before the object does.
    """
    if (begun := _beginning(tuple(names)).search(text)) is None:
        return None
    depth, quoted = 0, False
    for found in _MARKS.finditer(text, begun.start()):
        mark = found.group()
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "{[":
            depth += 1
        elif not quoted and mark in "}]":
            depth -= 1
            if depth == 0:
                whole = text[begun.start() : found.end()]
                return whole if loaded(whole) is not None else text[begun.start() :]
    if quoted and text.rstrip("` \n").endswith("}"):  # A quotation mark too many, not the end.
        return text[begun.start() :]
    raise CutError("it ends in the middle of its JSON")


@cache
def _beginning(names: tuple[str, ...]) -> re.Pattern[str]:
    unquoted = "|".join(re.escape(name) for name in names)
    return re.compile(rf"\{{\s*(?:[\"'}}]|(?:{unquoted})\b)", re.IGNORECASE)


def loaded(written: str) -> dict[str, Any] | None:
    """Return a JSON object; None if it is none."""
    try:
        value: Any = json.loads(written, strict=False)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def named(fields: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the fields of these names; capitals and spaces in a key do not matter.

    Where there is one text or number and one name, it is that, however its key is called: without a schema an LM may
    call it otherwise.
    """
    if len(names) == len(fields) == 1:
        [(key, value)], [name] = fields.items(), names
        return {name: value} if _is_it(key, value, name) else {}
    alike = {key.strip().casefold(): value for key, value in fields.items()}
    found = {name: fields.get(name, alike.get(name.casefold())) for name in names}
    return {name: value for name, value in found.items() if name in fields or name.casefold() in alike}


def _is_it(key: str, value: Any, name: str) -> bool:
    same = key.strip().casefold() == name.casefold()
    return same or (isinstance(value, str | int | float) and key.strip().casefold() != "error")


def bare(text: str, name: str) -> str:
    """Return the answer that a text without JSON is: without a fence around it, and without the field's name before."""
    fenced = _FENCE.fullmatch(text.strip())
    unfenced = fenced.group(1) if fenced else text
    label = rf"\s*(?:\[\[ ## {re.escape(name)} ## \]\]|[*_`\"']*{re.escape(name)}[*_`\"']*\s*:[*_]*)"
    begun = re.match(label, unfenced, flags=re.IGNORECASE)
    return (unfenced[begun.end() :] if begun else unfenced).strip()


def choice_of(said: str, answers: Sequence[Answer]) -> Answer | None:
    """Return the answer that a text is; None if it is none of them.

    Case, quotes and a full stop do not matter. Where all answers are whole numbers, the text may say one among other
    words, out of the highest or not: `4 stars`, `4/5`, `4.0`.
    """
    wanted = _plain(said)
    alike = [answer for answer in answers if _plain(str(answer)) == wanted]
    return alike[0] if alike else _number_of(wanted, answers)


def _plain(answer: str) -> str:
    return answer.strip("\"'`. \n").casefold()


def _number_of(said: str, answers: Sequence[Answer]) -> Answer | None:
    if not all(re.fullmatch(r"\d+", str(answer)) for answer in answers) or _IN_PART.search(said):
        return None
    numbers = {float(str(answer)): answer for answer in answers}
    out_of = rf"\s*(?:/|out of)\s*{max(numbers):g}(?!\w)"
    found = _NUMBER.findall(re.sub(out_of, "", said))
    return numbers.get(float(found[0].replace(",", "."))) if len(found) == 1 else None
