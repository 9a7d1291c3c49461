"""What a report says about personas: how alike they are, what alignment changed, and the personas themselves."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...data.errors import LMError, ModelFileError
from ...data.persona import SECTIONS, Persona
from ..protocol import FinishedEvaluation, PersonaRecord
from . import figures
from .analysis import TaskAnalysis
from .document import Block, Comparison, Table, Words
from .names import WHOLE
from .personas import FEWEST_ON_A_MAP, jaccard_matrix, overlap_sentence, persona_map, section_changes
from .words import number

if TYPE_CHECKING:
    from ...data.memory.embedder import Embedder

_LOG = logging.getLogger(__name__)
_KEY_LETTERS = 6


class PersonaSection:
    """Tells of the personas of one method: the whole system, or else the first method that made any.

    Args:
        embedder: Places personas on the map.
        texts: Whether the personas themselves are shown.
    """

    def __init__(self, embedder: "Embedder", *, texts: bool) -> None:
        self._embedder, self._texts = embedder, texts

    def __call__(self, analysis: TaskAnalysis) -> list[Block]:
        """Tell of one task."""
        if not (records := _told(analysis.evaluation)):
            return []
        task, users = analysis.task.name, [record.user_key[:_KEY_LETTERS] for record in records]
        first, last = [record.first for record in records], [record.last for record in records]
        blocks: list[Block] = [Words(f"Personas of {records[0].method}, {len(records)} user(s).")]
        if len(records) > 1:
            blocks.append(Words(overlap_sentence(first, last)))
            blocks.append(figures.overlap(task, users, jaccard_matrix(last)))
        if len(records) >= FEWEST_ON_A_MAP:
            blocks.append(self._map(task, users, last))
        blocks.append(_changes(first, last))
        if self._texts:
            blocks += (_side_by_side(record) for record in records)
        return blocks

    def _map(self, task: str, users: Sequence[str], personas: Sequence[Persona]) -> Block:
        try:
            return figures.persona_map(task, users, persona_map(personas, self._embedder))
        except (ModelFileError, LMError) as error:
            _LOG.warning("no map of personas: %s", error)
            return Words("No map of personas: the embedder could not be used.")


def _told(evaluation: FinishedEvaluation) -> tuple[PersonaRecord, ...]:
    methods = [record.method for record in evaluation.personas]
    method = WHOLE if WHOLE in methods else next(iter(methods), None)
    return tuple(record for record in evaluation.personas if record.method == method)


def _changes(first: Sequence[Persona], last: Sequence[Persona]) -> Table:
    rows = (
        (change.section, *(number(mean, 1) for mean in (change.first, change.last, change.kept)))
        for change in section_changes(first, last)
    )
    columns = ("section", "lines of the first persona", "lines of the last", "the same in both")
    return Table(columns, tuple(rows), "Lines of a persona by section, averaged over users")


def _side_by_side(record: PersonaRecord) -> Comparison:
    versions = "1 version" if record.versions == 1 else f"{record.versions} versions"
    title = f"User {record.user_key[:_KEY_LETTERS]} ({versions})"
    if record.aligned is None:
        return Comparison(title, ("persona",), (_lines(record.first),))
    return Comparison(title, ("first persona", "after alignment"), (_lines(record.first), _lines(record.aligned)))


def _lines(persona: Persona) -> tuple[str, ...]:
    return tuple(f"{section}: {line.text}" for section in SECTIONS for line in persona.section(section))
