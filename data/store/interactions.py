"""The log of what one user asked and did: the verbatim record that everything else is derived from."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, TextClause, bindparam, delete, func, select, text

from ..errors import InputError, PersonaAgentError, QuotaError
from ..interaction import Interaction
from ..memory.rows import Mark
from . import tables
from .database import Database
from .erasure import calls_quoting, take_out_words
from .idempotency import forget_answers
from .log import UserLog, UserTable, check_id, next_number, read
from .statements import retract

if TYPE_CHECKING:
    from ..memory.chroma_index import EpisodeIndex

_AHEAD = timedelta(days=1)
"""How far in the future an interaction may be dated: clocks differ."""
_TEXTS = ("query", "ground_truth", "response", "task")
_AT_ONCE = 500
"""Ids that one statement names: databases allow only so many."""
_READ_AT_ONCE, _READ_BYTES = 200, 2**20
_table = tables.interactions
_mine = _table.c.user_key == bindparam("user_key")
_ALL = select(_table.c.noun).where(_mine).order_by(_table.c.position)
_COUNT = select(func.count()).where(_mine)
_MARK = text(
    "SELECT COUNT(*), COALESCE((SELECT interaction_id FROM interactions WHERE user_key = :user_key "
    "ORDER BY position DESC LIMIT 1), '') FROM interactions WHERE user_key = :user_key"
)
_COUNT_KNOWN = select(func.count()).where(_mine, _table.c.known == 1)
_NEWEST = "FROM interactions WHERE user_key = :user_key ORDER BY moment DESC, position DESC LIMIT :most OFFSET :skipped"
_LATER = (
    "FROM interactions WHERE user_key = :user_key AND (moment, position) > (:moment, :position) "
    "ORDER BY moment, position LIMIT :most"
)
_NEWEST_SIZES, _NEWEST_NOUNS = text(f"SELECT size {_NEWEST}"), text(f"SELECT noun {_NEWEST}")
_LATER_SIZES, _LATER_NOUNS = text(f"SELECT size {_LATER}"), text(f"SELECT moment, position, noun {_LATER}")
_SIZE = text(
    "SELECT (SELECT COALESCE(SUM(size), 0) FROM interactions WHERE user_key = :user_key) + "
    "(SELECT COALESCE(SUM(LENGTH(noun)), 0) FROM persona_versions WHERE user_key = :user_key)"
)
_AMONG = select(_table.c.noun).where(_mine, _table.c.interaction_id.in_(bindparam("ids", expanding=True)))
_IS_STORED = text("SELECT 1 FROM users WHERE key = :user_key")
_log = logging.getLogger(__name__)


def _counts(interaction: Interaction, noun: str) -> Mapping[str, object]:
    return {
        "moment": interaction.moment[0].isoformat(timespec="microseconds"),
        "known": int(interaction.ground_truth is not None),
        "size": len(noun.encode()),
    }


INTERACTIONS = UserTable(
    Interaction,
    _table,
    "position",
    fields=("interaction_id", "position"),
    unique=("interaction_id", "position"),
    computed=_counts,
)


class InteractionLog(UserLog):
    """One user's interactions. What was added is on disk, and never changes but that its ground truth becomes known.

    Raises:
        InputError: Of all methods: the user has no interaction of this id, or what was given cannot be stored.
        QuotaError: Of what adds: the user has stored `most_bytes`, persona versions included.
    """

    def __init__(
        self,
        database: Database,
        user_key: str,
        index: "EpisodeIndex | None" = None,
        most_bytes: int | None = None,
    ) -> None:
        super().__init__(database, user_key)
        self._index, self._most_bytes = index, most_bytes

    def __len__(self) -> int:
        [(count,)] = self._database.fetch(_COUNT, {"user_key": self._user_key})
        return count

    @property
    def mark(self) -> Mark:
        """How many there are, and the id of the one that was stored last."""
        [(count, last)] = self._database.fetch(_MARK, {"user_key": self._user_key})
        return count, last

    @property
    def known(self) -> int:
        """How many have a ground truth."""
        [(count,)] = self._database.fetch(_COUNT_KNOWN, {"user_key": self._user_key})
        return count

    def newest(self, most: int, skipped: int = 0, *, most_bytes: int = 2**62) -> tuple[Interaction, ...]:
        """Return at most so many interactions and bytes, at least one, newest first, after those that are skipped."""
        page = {"user_key": self._user_key, "most": most, "skipped": skipped}
        fitting = self._fitting(_NEWEST_SIZES, page, most_bytes)
        return self._database.nouns(Interaction, _NEWEST_NOUNS, {**page, "most": fitting})

    def each(self) -> Iterator[Interaction]:
        """Yield every interaction, oldest first; only a few are in memory at once."""
        moment, position = "", -1
        while True:
            later = {"user_key": self._user_key, "moment": moment, "position": position, "most": _READ_AT_ONCE}
            fitting = self._fitting(_LATER_SIZES, later, _READ_BYTES)
            rows = self._database.fetch(_LATER_NOUNS, {**later, "most": fitting})
            if not rows:
                return
            yield from (read(Interaction, noun) for _, _, noun in rows)
            moment, position, _ = rows[-1]

    def _fitting(self, sizes: TextClause, page: Mapping[str, object], most_bytes: int) -> int:
        sums = accumulate(size for (size,) in self._database.fetch(sizes, page))
        return max(1, sum(total <= most_bytes for total in sums))

    def check_quota(self) -> None:
        """Return if the user may store more."""
        with self._database.read() as connection:
            self._check_quota(connection)

    def all(self) -> tuple[Interaction, ...]:
        """Return every interaction, oldest first (`Interaction.moment`)."""
        interactions = self._database.nouns(Interaction, _ALL, {"user_key": self._user_key})
        return tuple(sorted(interactions, key=lambda interaction: interaction.moment))

    def get(self, interaction_id: str) -> Interaction:
        """Return one interaction."""
        check_id("interaction id", interaction_id)
        found = self._database.noun(Interaction, select(_table.c.noun).where(self._is(interaction_id)))
        if found is None:
            raise _unknown(interaction_id)
        return found

    def among(self, interaction_ids: Sequence[str]) -> dict[str, Interaction]:
        """Return those interactions that have one of these ids, by id."""
        with self._database.read() as connection:
            return _stored_among(connection, self._user_key, interaction_ids)

    def add(self, interactions: Iterable[Interaction]) -> int:
        """Store interactions after those that are stored, in the order given: all of them, or on any error none.

        One that is stored already, with the same id and content, is skipped, so that the same history can be added
        again; two with the same content and different ids are both kept. Positions are assigned here.

        Returns:
            How many were newly stored.
        """
        added = self.record(interactions)
        self.index_added(added)
        return len(added)

    def record(self, interactions: Iterable[Interaction]) -> tuple[Interaction, ...]:
        """Store as `add` does, and return what was newly stored; `index_added` indexes it, or the index catches up."""
        with self._database.write() as connection:
            self._check_quota(connection)
            return add_interactions(connection, self._user_key, tuple(interactions))

    def learn(self, interaction_id: str, ground_truth: str) -> Interaction:
        """Store what the user really did where it was not known, or known otherwise; return the interaction."""
        learnt = self.get(interaction_id).model_copy(update={"ground_truth": ground_truth})
        _check_new([learnt])
        self.check_quota()
        with self._database.write() as connection:
            if connection.execute(delete(_table).where(self._is(interaction_id))).rowcount == 0:
                raise _unknown(interaction_id)  # It was forgotten meanwhile.
            INTERACTIONS.append(connection, self._user_key, [learnt])
            retract(connection, self._user_key, interaction_id)
        return learnt

    def forget(self, interaction_id: str) -> None:
        """Delete an interaction from index and store, and with it every statement that has it as evidence.

        Its words go out of the journal, and out of what a server answers again, too. Persona versions and alignments
        that learnt from it stay.

        Raises:
            InputError: The user has no interaction of this id.
            StorageError: The index or the store could not be written; the interaction is still stored.
        """
        forgotten = self.get(interaction_id)
        if self._index is not None:
            self._index.remove(self._user_key, [interaction_id])
        with self._database.read() as connection:
            quoting = calls_quoting(connection, self._user_key, forgotten)
        with self._database.write() as connection:
            connection.execute(delete(_table).where(self._is(interaction_id)))
            retract(connection, self._user_key, interaction_id)
            take_out_words(connection, quoting)
            forget_answers(connection, self._user_key, interaction_id)

    def index_added(self, interactions: Sequence[Interaction]) -> None:
        """Add what was stored to the index, if any. If that fails, the index catches up before its next search."""
        if self._index is None or not interactions:
            return
        try:
            self._index.add(self._user_key, interactions)
            if not self._database.fetch(_IS_STORED, {"user_key": self._user_key}):
                self._index.erase(self._user_key)  # The user was erased between store and index.
        except PersonaAgentError as error:
            _log.warning("user %s: stored, and not indexed yet: %s", self._user_key, error)

    def _check_quota(self, connection: Connection) -> None:
        if self._most_bytes is None:
            return
        size = connection.execute(_SIZE, {"user_key": self._user_key}).scalar_one()
        if size >= self._most_bytes:
            raise QuotaError(
                f"{size:,} bytes are stored of this user, and {self._most_bytes:,} may be: forget something first"
            )

    def _is(self, interaction_id: str) -> ColumnElement[bool]:
        return (_table.c.user_key == self._user_key) & (_table.c.interaction_id == interaction_id)


def add_interactions(
    connection: Connection, user_key: str, interactions: Sequence[Interaction]
) -> tuple[Interaction, ...]:
    """Insert those interactions that are not stored yet, and return them with their positions."""
    _check_new(interactions)
    stored = _stored_among(connection, user_key, [interaction.interaction_id for interaction in interactions])
    start = next_number(connection, _table.c.position, _table.c.user_key == user_key)
    new = [interaction for interaction in interactions if not _is_stored(interaction, stored)]
    placed = tuple(interaction.model_copy(update={"position": place}) for place, interaction in enumerate(new, start))
    INTERACTIONS.append(connection, user_key, placed)
    return placed


def _check_new(interactions: Sequence[Interaction]) -> None:
    seen: set[str] = set()
    latest = datetime.now(UTC) + _AHEAD
    for interaction in interactions:
        name = f"interaction {check_id('interaction id', interaction.interaction_id)!r}"
        if interaction.interaction_id in seen:
            raise InputError(f"{name} occurs twice in what was added: ids must differ")
        seen.add(interaction.interaction_id)
        if interaction.at is not None and interaction.at > latest:
            raise InputError(f"{name}: it is dated {interaction.at:%Y-%m-%d}, in the future")
        for field in _TEXTS:
            if "\0" in (getattr(interaction, field) or ""):
                raise InputError(f"{name}: its {field} has a NUL character: remove it")


def _stored_among(connection: Connection, user_key: str, ids: Sequence[str]) -> dict[str, Interaction]:
    found: list[Interaction] = []
    for start in range(0, len(ids), _AT_ONCE):
        named = {"user_key": user_key, "ids": list(ids[start : start + _AT_ONCE])}
        found.extend(read(Interaction, noun) for noun in connection.scalars(_AMONG, named))
    return {interaction.interaction_id: interaction for interaction in found}


def _is_stored(new: Interaction, stored: dict[str, Interaction]) -> bool:
    if (same := stored.get(new.interaction_id)) is None:
        return False
    new = new.model_copy(update={"position": same.position})
    if same == new.model_copy(update={"task": same.task}) and same != new:
        raise InputError(
            f"interaction {new.interaction_id!r} is stored already, of task {same.task}, and is of task {new.task} "
            f"here: name the task (`--task {same.task}`), or erase the user and ingest the history again"
        )
    if same != new:
        raise InputError(f"interaction {new.interaction_id!r} is stored already, with other content: give it a new id")
    return True


def _unknown(interaction_id: str) -> InputError:
    return InputError(f"this user has no interaction {interaction_id!r}")
