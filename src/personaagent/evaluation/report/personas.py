"""How alike the personas of different users are, and what alignment does to them: numbers without their words."""

import logging
import re
from collections.abc import Sequence
from itertools import combinations
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray

from ...data.errors import LMError, ModelFileError, needing
from ...data.memory.embedder import Embedder
from ...data.persona import SECTIONS, Persona
from ..names import WHOLE
from ..record import PersonaRecord
from . import figures
from .analysis import TaskAnalysis
from .document import Block, Comparison, Table, fitting
from .questions import KEY_LETTERS

FEWEST_ON_A_MAP = 4
"""With fewer personas there is no neighbourhood to show."""

_LOG = logging.getLogger(__name__)
_WORD = re.compile(r"\w+")


def words_of(persona: Persona) -> frozenset[str]:
    """Return the different words of a persona's lines; headings, which all personas share, do not count."""
    return frozenset(word for line in persona.lines for word in _WORD.findall(line.text.casefold()))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the share of the words of either that are words of both, 0 to 1; 1 for two empty sets."""
    return len(left & right) / len(left | right) if left or right else 1.0


def jaccard_matrix(personas: Sequence[Persona]) -> tuple[tuple[float, ...], ...]:
    """Return the overlap of each persona with each, in order: shape (personas, personas), 1 on the diagonal."""
    words = [words_of(persona) for persona in personas]
    return tuple(tuple(jaccard(left, right) for right in words) for left in words)


def overlaps(personas: Sequence[Persona]) -> tuple[float, ...]:
    """Return the overlap of each pair of different users, smallest first."""
    words = [words_of(persona) for persona in personas]
    return tuple(sorted(jaccard(left, right) for left, right in combinations(words, 2)))


def overlap_sentence(first: Sequence[Persona], last: Sequence[Persona]) -> str:
    """Say how much the personas of two users overlap, before and after alignment; at least two users.

    Source: arXiv 2506.06254, which reports overlaps of mostly at most 0.4 between users.
    """
    before, after = overlaps(first), overlaps(last)
    small = sum(overlap <= 0.4 for overlap in after) / len(after)
    return (
        f"Two users' personas share {median(after):.2f} of their words (median of {len(after)} pairs; "
        f"{median(before):.2f} before alignment); {small:.0%} of the pairs share at most 0.40."
    )


def section_changes(first: Sequence[Persona], last: Sequence[Persona]) -> dict[str, tuple[float, float, float]]:
    """Return the lines of each section before, after, and the same in both, averaged over users (in one order)."""
    changes: dict[str, tuple[float, float, float]] = {}
    for section in SECTIONS:
        before, after = (
            [{line.line_id for line in persona.section(section)} for persona in personas] for personas in (first, last)
        )
        kept = [len(old & new) for old, new in zip(before, after, strict=True)]
        changes[section] = (mean(map(len, before)), mean(map(len, after)), mean(kept))
    return changes


def persona_map(personas: Sequence[Persona], embedder: Embedder) -> NDArray[np.float64]:
    """Return where each of `FEWEST_ON_A_MAP` personas or more lies on a map on which near means alike: (personas, 2).

    It is t-SNE of the embedded texts: directions and distances between far groups mean nothing. The same
    personas have the same map on one machine.
    """
    with needing("report"):
        from sklearn.manifold import TSNE

    vectors = embedder.embed(["\n".join(line.text for line in persona.lines) for persona in personas])
    perplexity = min(30.0, (len(personas) - 1) / 3)
    return TSNE(perplexity=perplexity, init="random", method="exact", random_state=0).fit_transform(vectors)


def persona_blocks(analysis: TaskAnalysis, embedder: Embedder, room: int) -> list[Block]:
    """Tell of the personas of one method: the whole system, or else the first method that made any.

    The embedder places them on a map; as many as take `room` bytes of a page are shown themselves.
    """
    if not (methods := [record.method for record in analysis.evaluation.personas]):
        return []
    method = WHOLE if WHOLE in methods else methods[0]
    records = [record for record in analysis.evaluation.personas if record.method == method]
    task, users = analysis.task.name, [record.user_key[:KEY_LETTERS] for record in records]
    first, last = [record.first for record in records], [record.last for record in records]
    blocks: list[Block] = [f"Personas of {method}, {len(records)} user(s)."]
    if len(records) > 1:
        blocks.append(overlap_sentence(first, last))
        blocks.append(figures.overlap(task, users, jaccard_matrix(last)))
    if len(records) >= FEWEST_ON_A_MAP:
        blocks.append(_map(task, users, last, embedder))
    columns = ("section", "lines of the first persona", "lines of the last", "the same in both")
    rows = ((name, *(f"{n:,.1f}" for n in lines)) for name, lines in section_changes(first, last).items())
    blocks.append(Table(columns, tuple(rows), "Lines of a persona by section, averaged over users"))
    shown = fitting(map(_side_by_side, records), room)
    if 0 < len(shown) < len(records):
        blocks.append(f"The first {len(shown)} of {len(records)} personas; all of them are in personas.jsonl.")
    return [*blocks, *shown]


def _map(task: str, users: Sequence[str], personas: Sequence[Persona], embedder: Embedder) -> Block:
    try:
        return figures.persona_map(task, users, persona_map(personas, embedder))
    except (ModelFileError, LMError) as error:
        _LOG.warning("no map of personas: %s", error)
        return "No map of personas: the embedder could not be used."


def _side_by_side(record: PersonaRecord) -> Comparison:
    versions = "1 version" if record.versions == 1 else f"{record.versions} versions"
    shown = {"persona": record.first}
    if record.aligned is not None:
        shown = {"first persona": record.first, "after alignment": record.aligned}
    columns = {heading: _lines(persona) for heading, persona in shown.items()}
    return Comparison(f"User {record.user_key[:KEY_LETTERS]} ({versions})", columns)


def _lines(persona: Persona) -> tuple[str, ...]:
    return tuple(f"{section}: {line.text}" for section in SECTIONS for line in persona.section(section))
