"""The log of one user's alignments: each is recorded together with the persona versions that it made, or not at all."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, insert, select, update

from ..alignment import Alignment
from ..errors import InputError, UnknownNameError
from ..persona import PersonaVersion
from . import schema
from .database import Database
from .personas import add_version, next_version, read_version, read_versions, recorded_alignments
from .rows import Handle, check_id, next_number, read, written

_table = schema.alignments


class AlignmentLog(Handle):
    """One user's alignments. None is ever changed, but for what is forgotten."""

    def __init__(self, database: Database, user_key: str) -> None:
        self._database, self._user_key = database, user_key

    def all(self) -> tuple[Alignment, ...]:
        """Return every alignment in the order in which they were recorded."""
        rows = select(_table.c.noun).where(self._mine).order_by(_table.c.ordinal)
        with self._database.read() as connection:
            return tuple(read(Alignment, text) for text in connection.scalars(rows))

    def get(self, alignment_id: str) -> Alignment:
        """Return one alignment.

        Raises:
            UnknownNameError: None of this id is recorded.
        """
        check_id("alignment id", alignment_id)
        with self._database.read() as connection:
            text = connection.scalar(select(_table.c.noun).where(self._mine, _table.c.alignment_id == alignment_id))
            if text is None:
                raise UnknownNameError("alignment", alignment_id, recorded_alignments(connection, self._user_key))
        return read(Alignment, text)

    def add(self, alignment: Alignment) -> tuple[PersonaVersion, ...]:
        """Record an alignment and, in the same transaction, one persona version for each of its candidates.

        An accepted candidate is promoted; any other is rejected. The parent of each is the version that it was revised
        from: the last one accepted before it, at first the base version.

        Returns:
            The versions that were made, oldest first, with the status that they have now.

        Raises:
            UnknownNameError: Its base version is not recorded.
            InputError: An alignment of this id is recorded already, or the base version holds another persona.
            StorageError: The disk is full or refuses to write.
        """
        check_id("alignment id", alignment.alignment_id)
        with self._database.write() as connection:
            _check_base(connection, self._user_key, alignment)
            self._insert(connection, alignment)
            first = next_version(connection, self._user_key)
            _add_candidates(connection, self._user_key, alignment)
            return read_versions(connection, self._user_key)[first - 1 :]

    def redact(self, redacted: Callable[[Alignment], Alignment]) -> None:
        """Put what `redacted` returns in the place of every alignment.

        Raises:
            StorageError: The disk is full or refuses to write; nothing was changed.
        """
        with self._database.write() as connection:
            nouns = connection.scalars(select(_table.c.noun).where(self._mine)).all()
            for alignment in (read(Alignment, text) for text in nouns):
                if (left := redacted(alignment)) != alignment:
                    this = _table.c.alignment_id == alignment.alignment_id
                    connection.execute(update(_table).where(self._mine, this).values(noun=written(left)))

    def _insert(self, connection: Connection, alignment: Alignment) -> None:
        if alignment.alignment_id in recorded_alignments(connection, self._user_key):
            raise InputError(f"alignment {alignment.alignment_id!r} is recorded already: give the new one its own id")
        row = {
            "user_key": self._user_key,
            "ordinal": next_number(connection, _table.c.ordinal, self._mine),
            "alignment_id": alignment.alignment_id,
            "noun": written(alignment),
        }
        connection.execute(insert(_table).values(row))

    @property
    def _mine(self) -> ColumnElement[bool]:
        return _table.c.user_key == self._user_key


def _check_base(connection: Connection, user_key: str, alignment: Alignment) -> None:
    if alignment.base_version is None:
        return
    base = read_version(connection, user_key, alignment.base_version)
    if base.persona.fingerprint != alignment.base.fingerprint:
        raise InputError(f"alignment {alignment.alignment_id!r}: its base is not persona version {base.number}")


def _add_candidates(connection: Connection, user_key: str, alignment: Alignment) -> None:
    parent = alignment.base_version
    for step in alignment.iterations:
        if step.candidate is None:
            continue
        version = PersonaVersion(
            number=next_version(connection, user_key),
            persona=step.candidate,
            parent=parent,
            status="live" if step.accepted else "rejected",
            alignment_id=alignment.alignment_id,
            reason=step.reason,
            at=datetime.now(UTC),
        )
        add_version(connection, user_key, version)
        parent = version.number if step.accepted else parent
