"""How a call is written down and how its answer is read: DSPy's JSON adapter in fewer words.

An answer is the JSON object of a text, whatever stands around it, or the one field itself without any JSON.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import dspy
from dspy.adapters.utils import get_annotation_name
from dspy.lm15 import Response
from dspy.utils.exceptions import AdapterParseError

from ..data.texts import all_clean

_MARKS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)?(?!\w)")
_IN_PART = re.compile(r"[¼½¾]|\bhalf\b", re.IGNORECASE)

Answer = TypeVar("Answer")


class TerseJSONAdapter(dspy.JSONAdapter):
    """What is given, the form of the answer, then the instructions; nothing is said twice.

    Everything that repeats from call to call stands before everything that does not. The form comes before the persona,
    which all modules share: llama.cpp looks for a prompt that it computed before only if a new one differs early from
    the last one. Schemas are asked for, and answers parsed, as DSPy's `JSONAdapter` does, with three differences: an
    answer that ends in the middle of its JSON is none, a key may be written in capitals, and where one field is asked
    for, a text without JSON is that field, if it can be.
    """

    def __init__(self) -> None:
        super().__init__(use_native_function_calling=True)
        self._formats: dict[tuple[object, ...], dict[str, Any]] = {}

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        """Return a line for each input, a line for each field of the answer, and the instructions."""
        given = "\n".join(_line(name, field.json_schema_extra) for name, field in signature.input_fields.items())
        wanted = "\n".join(
            _line(name, field.json_schema_extra, get_annotation_name(field.annotation))
            for name, field in signature.output_fields.items()
        )
        form = f"You are given:\n{given}\n\nAnswer with one JSON object of these fields:\n{wanted}"
        return f"{form}\n\n{signature.instructions}"

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Return the fields of the answer."""
        try:
            return all_clean(super().parse(signature, _object(signature, completion)))
        except CutError as cut:
            raise AdapterParseError("TerseJSONAdapter", signature, completion, str(cut)) from cut
        except AdapterParseError as error:
            error.lm_response = completion
            raise

    def user_message_output_requirements(self, signature: type[dspy.Signature]) -> None:
        """Add nothing after the inputs: the form of the answer stands in the system message."""
        return

    def _prepare_response_format(
        self, lm: dspy.BaseLM, lm_kwargs: dict[str, Any], signature: type[dspy.Signature]
    ) -> None:
        """Ask for the schema that DSPy would ask for, but make it once for each form of answer, not at every call."""
        fields = tuple((name, field.annotation) for name, field in signature.output_fields.items())
        form = (fields, lm.supports_response_schema, "response_format" in lm.supported_params)
        if (made := self._formats.get(form)) is None:
            made = dict[str, Any]()
            super()._prepare_response_format(lm, made, signature)
            self._formats[form] = made  # Whole: other threads look here too.
        lm_kwargs.update(made)


def _object(signature: type[dspy.Signature], completion: str) -> str:
    """Return the JSON object of an answer, or what DSPy may make one of."""
    kinds = {name: field.annotation for name, field in signature.output_fields.items()}
    text = without_thoughts(completion)
    if (written := object_in(text, kinds)) is not None:
        fields = loaded(written)
    elif len(kinds) == 1:
        fields = _alone(text, *kinds.items())
    else:
        fields = None
    if fields is None:
        return written or text
    return json.dumps({name: _chosen(value, kinds[name]) for name, value in named(fields, kinds).items()})


def _alone(text: str, field: tuple[str, Any]) -> dict[str, Any] | None:
    """Return the one field that a text without JSON is; None if it cannot be."""
    name, kind = field
    said = bare(text, name)
    if not said or is_cut(last_heard.get()):
        return None
    try:
        value = json.loads(said)
    except ValueError:
        value = said
    if kind is str:
        return {name: value if isinstance(value, str) else said}
    return {name: value} if get_origin(kind) is Literal or not isinstance(value, str) else None


def _chosen(value: Any, kind: Any) -> Any:
    """Return the one of several answers that is meant, where a field is one; else the value as it is."""
    chosen = choice_of(str(value), get_args(kind)) if get_origin(kind) is Literal else None
    return value if chosen is None else chosen


def _line(name: str, extra: Any, kind: str = "") -> str:
    """Return a field's line; a description that DSPy made up of the name says nothing and is left out."""
    described = extra["desc"]
    what = "" if described == f"${{{name}}}" else f": {described}"
    return f"- {name}" + (f" ({kind})" if kind else "") + what


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


last_heard: ContextVar[Response | None] = ContextVar("personaagent_last_response", default=None)
"""The last response that was noted in this context."""


def heard(response: Response) -> Response:
    """Note a response and return it; engines call this."""
    last_heard.set(response)
    return response


def is_cut(response: Response | None) -> bool:
    """Whether a response ended because it came to the most tokens that it may have."""
    return response is not None and response.finish_reason == "length"


def only_thoughts(response: Response | None) -> bool:
    """Whether a response says nothing."""
    return response is not None and not (response.message.text or "").strip()


def cut_error(response: Response | None, most_tokens: int | None) -> str:
    """Return what to say of an answer that was cut twice."""
    where = f"at {most_tokens:,} tokens" if most_tokens else "before its end"
    thoughts = ", while the LM was still thinking" if only_thoughts(response) else ""
    return f"the answer was cut {where}{thoughts}: set PERSONAAGENT_MAX_ANSWER_TOKENS (--max-answer-tokens) to more"
