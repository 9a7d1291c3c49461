"""The persona: one user's system prompt, as lines that each know where they came from."""

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Literal, get_args

from pydantic import Field, JsonValue, field_validator

from . import html
from .answer_weights import AnswerWeights
from .nouns import Noun

Section = Literal["profile", "preferences", "tool_use", "style"]
Kind = Literal["template", "statement", "said", "confusion", "style", "rule", "rewrite"]
"""Where a line is from; `confusion` and `style` are of homes made before release 0.2.0."""
SECTIONS: tuple[Section, ...] = get_args(Section)
MAX_PERSONA_TOKENS = 1500
MAX_LINE_CHARACTERS = 300
_MARKER = "[[ ##"
"""How each field of a prompt begins."""
_COPIED_WORDS = 5
"""Words in a row that are a copy; a shorter line is one if all of it is."""
_LEAST_WORDS = 3
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_WORD = re.compile(r"\w+")

_OPENING = "You are a helpful assistant personalised to one particular user. Answer as this user would want."
_HEADINGS: dict[Section, str] = {
    "profile": "Who the user is:",
    "preferences": "What the user prefers:",
    "tool_use": "How to use tools for this user:",
    "style": "How to answer this user:",
}


def least_causes(kind: str) -> int:
    """Return the least number of interactions that a line of a kind is made from: a pattern needs two."""
    return 2 if kind in {"confusion", "style", "rule"} else 1


def refusal_of(text: str, sources: Iterable[str] = ()) -> str | None:
    """Return why a text may not be a line of a persona; None if it may.

    A line is words about the user, no prompt, and no copy of `sources`: questions, answers, the form of its request.
    """
    if len(text) > MAX_LINE_CHARACTERS:
        return f"it has {len(text)} characters, and may have at most {MAX_LINE_CHARACTERS}"
    if len(text.splitlines()) > 1 or _CONTROL.search(text):
        return "it is not one line of text"
    if _MARKER in " ".join(text.split()):
        return f"it has the field marker {_MARKER!r}, which prompts are made of"
    if any(_copies(text, source) for source in sources):
        return "it copies the form, or what was asked or said"
    return None


def _copies(text: str, source: str) -> bool:
    words, of_source = (_WORD.findall(words.casefold()) for words in (text, source))
    length = min(_COPIED_WORDS, len(words))
    if length < _LEAST_WORDS:
        return False
    runs = {tuple(of_source[at : at + length]) for at in range(len(of_source) - length + 1)}
    return any(tuple(words[at : at + length]) in runs for at in range(len(words) - length + 1))


class PersonaLine(Noun):
    """One line of a persona."""

    section: Section
    text: str = Field(min_length=1)
    causes: tuple[str, ...] = ()
    """Ids of the interactions that this line came from; empty for a line of the template."""
    kind: Kind = "template"
    """How it came about: `statement` from semantic memory, `said` by the user, `rewrite` by the paper's whole rewrite;
    the others are named after their proposer."""

    @field_validator("text")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.split())

    @cached_property
    def line_id(self) -> str:
        """The same section and words have the same id, in every version and on every machine."""
        return hashlib.sha256(f"{self.section}\n{self.text}".encode()).hexdigest()[:12]

    @property
    def source(self) -> str:
        """What it came from, in words."""
        if self.kind == "said":
            return "what the user said"
        count = len(self.causes)
        return f"{count} interaction{'' if count == 1 else 's'}" if count else "the template"

    def without_cause(self, interaction_id: str) -> "PersonaLine | None":
        """Return the line without one of its causes; None if too few are left."""
        if interaction_id not in self.causes:
            return self
        causes = tuple(cause for cause in self.causes if cause != interaction_id)
        return self.model_copy(update={"causes": causes}) if len(causes) >= least_causes(self.kind) else None


class Adopted(Noun):
    """What another optimizer wrote into a program's predictors."""

    origin: str
    """The optimizer: `GEPA`, `BootstrapFewShot`."""
    task: str
    preset: str
    """Task and preset of the program; other programs speak under the persona alone."""
    predictors: dict[str, dict[str, JsonValue]]
    """By the predictor's name in the program, what differs from the persona's: `signature` and `demos` as DSPy saves
    them, and `fields`, the weights of a decision."""
    line_ids: tuple[str, ...] = ()
    """Lines of the persona that the optimizer saw: its instructions stand for them."""


class Persona(Noun):
    """A user's system prompt. Data, never code: it is filled in by interactions and rewritten by an LM."""

    lines: tuple[PersonaLine, ...] = ()
    weights: AnswerWeights | None = None
    """How answers are weighed; None leaves them as the LM gives them."""
    adopted: Adopted | None = None
    """What another optimizer wrote into the program's predictors; None if it is ours alone."""

    @field_validator("lines")
    @classmethod
    def _within_limit(cls, lines: tuple[PersonaLine, ...]) -> tuple[PersonaLine, ...]:
        tokens = estimated_tokens("\n".join(line.text for line in lines))
        if tokens > MAX_PERSONA_TOKENS:
            raise ValueError(f"a persona of about {tokens} tokens is over the limit of {MAX_PERSONA_TOKENS}")
        return lines

    @cached_property
    def text(self) -> str:
        """The system prompt: the opening, then each section that has lines under its heading."""
        return "\n\n".join([_OPENING, *self._blocks(SECTIONS)])

    def text_of(self, sections: Iterable[Section]) -> str:
        """Return these sections under their headings, for a module that can act on them; empty if none has a line."""
        return "\n\n".join(self._blocks(sections))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that an answer depends on: two personas that answer the same are the same."""
        parts = [self.text, *(part.to_json() for part in (self.weights, self.adopted) if part is not None)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def causes(self) -> frozenset[str]:
        """Ids of all interactions that any line came from."""
        return frozenset(cause for line in self.lines for cause in line.causes)

    @property
    def said(self) -> tuple[PersonaLine, ...]:
        """The lines that the user stated, in the order in which they were stated."""
        return tuple(line for line in self.lines if line.kind == "said")

    def with_said(self, said: tuple[PersonaLine, ...]) -> "Persona":
        """Return the persona with these statements of the user in place of the present ones, after all other lines."""
        if self.said == said:
            return self
        words = {line.text for line in said}
        others = tuple(line for line in self.lines if line.kind != "said" and line.text not in words)
        return self.model_copy(update={"lines": Persona(lines=(*others, *said)).lines})

    def section(self, name: Section) -> tuple[PersonaLine, ...]:
        """The lines of one section, in order."""
        return tuple(line for line in self.lines if line.section == name)

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return self.as_html()

    def as_html(self) -> str:
        """Return its lines by section, and how answers are weighed, for a notebook."""
        lines = [
            ("" if place else _HEADINGS[section], line.text, line.source)
            for section in SECTIONS
            for place, line in enumerate(self.section(section))
        ]
        if self.adopted:
            lines.append(("What another optimizer wrote:", ", ".join(self.adopted.predictors), self.adopted.origin))
        shown = html.table(("", "line", "from"), lines) if lines else "<p>It says nothing about the user yet.</p>"
        return shown if self.weights is None else shown + self.weights.as_html()

    def _blocks(self, sections: Iterable[Section]) -> Iterator[str]:
        for section in sections:
            if lines := self.section(section):
                yield "\n".join([_HEADINGS[section], *(f"- {line.text}" for line in lines)])

    def rewritten(self, sections: dict[Section, Iterable[str]], causes: Iterable[str]) -> "Persona":
        """Return the persona that has these lines instead.

        A line that stays word for word keeps its causes; any other line is caused by `causes`. What the user stated
        stays, whether it was rewritten or not.
        """
        kept = {line.line_id: line for line in self.lines}
        new_causes = tuple(sorted(set(causes)))
        written = (
            PersonaLine(section=section, text=text, causes=new_causes, kind="rewrite")
            for section in SECTIONS
            for text in sections.get(section, ())
            if text.strip()
        )
        stated = {line.text for line in self.said}
        unique = {line.line_id: kept.get(line.line_id, line) for line in written if line.text not in stated}
        return self.model_copy(update={"lines": Persona(lines=(*unique.values(), *self.said)).lines})


class PersonaVersion(Noun):
    """A persona as it was recorded: never edited, only followed by others."""

    number: int = Field(ge=1)
    """1 for the user's first version, and so on without gaps."""
    persona: Persona
    parent: int | None = None
    """The version that it was revised from; None for the first."""
    status: Literal["candidate", "live", "retired", "rejected"]
    """`live` answers; `candidate` has not been decided; `retired` was live once; `rejected` never was."""
    alignment_id: str | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    reason: str
    """Why it was made, accepted or rejected, in one sentence."""
    at: datetime

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        title = html.markup(f"Version {self.number}, {self.status}: {self.reason}")
        return f"<p>{title}</p>{self.persona.as_html()}"


class PersonaDiff(str):
    """The change of a persona's text as a unified diff, empty if they read the same."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return html.diff(self)


def persona_diff(old: Persona, new: Persona) -> PersonaDiff:
    """Return what changed from one persona to another."""
    lines = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), "old", "new", lineterm="", n=100)
    return PersonaDiff("\n".join(lines))


def fingerprint_of(personas: Iterable[Persona]) -> str:
    """Return a hash of several personas, their lines' causes included."""
    return hashlib.sha256("\n".join(persona.to_json() for persona in personas).encode()).hexdigest()


def estimated_tokens(text: str) -> int:
    """Return about how many tokens an LM would count: four characters each, rounded up."""
    return -(-len(text) // 4)
