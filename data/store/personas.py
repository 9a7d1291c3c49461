"""The log of one user's persona versions, and of which of them answered when."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, bindparam, select

from ..errors import ChangedError, InputError, UnknownNameError
from ..nouns import Noun
from ..persona import Persona, PersonaVersion
from . import tables
from .log import UserLog, UserTable, next_number, read

_versions, _promotions = tables.persona_versions, tables.promotions
_same_version = (_promotions.c.user_key == _versions.c.user_key) & (_promotions.c.number == _versions.c.number)
_LIVE = (
    select(_versions.c.noun)
    .join(_promotions, _same_version)
    .where(_versions.c.user_key == bindparam("user_key"))
    .order_by(_promotions.c.ordinal.desc())
    .limit(1)
)


class Promotion(Noun):
    """A version became the one that answers."""

    number: int = Field(ge=1)
    """The version's number."""
    reason: str
    """Why, in one sentence."""
    at: datetime


VERSIONS = UserTable(PersonaVersion, _versions, "number", fields=("number",), unique=("number",))
PROMOTIONS = UserTable(Promotion, _promotions, "ordinal", fields=("number",))


class PersonaLog(UserLog):
    """One user's persona versions. None is ever edited: which one is live is told by the promotions alone."""

    @property
    def live(self) -> PersonaVersion | None:
        """The version that answers; None before the first promotion."""
        live = self._database.noun(PersonaVersion, _LIVE, {"user_key": self._user_key})
        return live and live.model_copy(update={"status": "live"})

    def versions(self) -> tuple[PersonaVersion, ...]:
        """Return every version with the status that it has now, oldest first."""
        with self._database.read() as connection:
            return read_versions(connection, self._user_key)

    def get(self, number: int) -> PersonaVersion:
        """Return one version with the status that it has now.

        Raises:
            UnknownNameError: There is no version of this number.
        """
        with self._database.read() as connection:
            return read_version(connection, self._user_key, number)

    def add(
        self,
        persona: Persona,
        *,
        reason: str,
        status: Literal["live", "candidate", "rejected"],
        parent: int | None = None,
    ) -> PersonaVersion:
        """Record a persona as the next version.

        Args:
            persona: What the version holds.
            reason: Why it was made, accepted or rejected, in one sentence.
            status: `live` promotes it at once.
            parent: Number of the version that it was revised from.

        Raises:
            UnknownNameError: The parent is not recorded.
        """
        with self._database.write() as connection:
            version = PersonaVersion(
                number=next_version(connection, self._user_key),
                persona=persona,
                parent=parent,
                status=status,
                reason=reason,
                at=datetime.now(UTC),
            )
            add_version(connection, self._user_key, version)
        return version

    def promote(
        self, number: int, reason: str, *, while_live: Callable[[PersonaVersion | None], bool] = lambda _live: True
    ) -> PersonaVersion:
        """Make a version live, whatever it was before; to promote an older version again is a rollback.

        Args:
            number: The version's number.
            reason: Why, in one sentence.
            while_live: Returns whether the caller knows of the version that is live until then.

        Raises:
            UnknownNameError: There is no version of this number.
            ChangedError: Another version is live than the caller knows of.
            InputError: It is live already.
        """
        with self._database.write() as connection:
            versions = read_versions(connection, self._user_key)
            if not while_live(next((version for version in versions if version.status == "live"), None)):
                raise ChangedError("another persona version is live by now: look at it first")
            if read_version(connection, self._user_key, number).status == "live":
                raise InputError(f"persona version {number} is live already")
            promotion = Promotion(number=number, reason=reason, at=datetime.now(UTC))
            PROMOTIONS.append(connection, self._user_key, [promotion])
            return read_version(connection, self._user_key, number)

    def promotions(self) -> tuple[Promotion, ...]:
        """Return every promotion, oldest first; the last one is of the live version."""
        return self._database.nouns(Promotion, PROMOTIONS.select(self._user_key))


def read_versions(connection: Connection, user_key: str) -> tuple[PersonaVersion, ...]:
    """Return the user's versions with the status that each has now, oldest first."""
    promoted = connection.scalars(
        select(_promotions.c.number).where(_promotions.c.user_key == user_key).order_by(_promotions.c.ordinal)
    ).all()
    versions = connection.scalars(VERSIONS.select(user_key))
    return tuple(_with_status(read(PersonaVersion, text), promoted) for text in versions)


def read_version(connection: Connection, user_key: str, number: int) -> PersonaVersion:
    """Return one of the user's versions with the status that it has now.

    Raises:
        UnknownNameError: There is no version of this number.
    """
    versions = {version.number: version for version in read_versions(connection, user_key)}
    if number not in versions:
        raise UnknownNameError("persona version", str(number), [str(known) for known in versions])
    return versions[number]


def next_version(connection: Connection, user_key: str) -> int:
    """Return the number that the user's next version gets."""
    return next_number(connection, _versions.c.number, _versions.c.user_key == user_key) or 1


def add_version(connection: Connection, user_key: str, version: PersonaVersion) -> None:
    """Insert a version under its number and, if it says that it is live, promote it.

    Raises:
        UnknownNameError: Its parent is not recorded.
    """
    if version.parent is not None:
        read_version(connection, user_key, version.parent)
    live = version.status == "live"
    recorded = version.model_copy(update={"status": "candidate"}) if live else version
    VERSIONS.append(connection, user_key, [recorded])
    if live:
        promotion = Promotion(number=version.number, reason=version.reason, at=version.at)
        PROMOTIONS.append(connection, user_key, [promotion])


def recorded_alignments(connection: Connection, user_key: str) -> list[str]:
    """Return the ids of the user's alignments, in the order in which they were recorded."""
    log = tables.alignments.c
    rows = select(log.alignment_id).where(log.user_key == user_key).order_by(log.ordinal)
    return list(connection.scalars(rows))


def _with_status(version: PersonaVersion, promoted: Sequence[int]) -> PersonaVersion:
    """Return the version with the status that follows from the numbers that were promoted, in their order."""
    if version.number not in promoted:
        return version
    return version.model_copy(update={"status": "live" if version.number == promoted[-1] else "retired"})
