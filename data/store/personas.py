"""The logs of one user's persona versions, and of the alignments that they came from."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..alignment import Alignment, Job
from ..errors import ChangedError, InputError, UnknownNameError
from ..nouns import Noun
from ..persona import Persona, PersonaVersion
from . import tables
from .log import UserLog, UserTable, check_id, next_number, read, written

_versions, _promotions = tables.persona_versions, tables.promotions
_alignments, _jobs = tables.alignments, tables.jobs
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
    reason: str
    at: datetime


VERSIONS = UserTable(PersonaVersion, _versions, "number", fields=("number",), unique=("number",))
PROMOTIONS = UserTable(Promotion, _promotions, "ordinal", fields=("number",))
ALIGNMENTS = UserTable(Alignment, _alignments, "ordinal", fields=("alignment_id",), unique=("alignment_id",))
_JOBS = UserTable(Job, _jobs, "at")


class PersonaLog(UserLog):
    """One user's persona versions. None is ever edited: which one is live is told by the promotions alone.

    Raises:
        UnknownNameError: Of all methods: there is no version of this number.
    """

    @property
    def live(self) -> PersonaVersion | None:
        """The version that answers; None before the first promotion."""
        live = self._database.noun(PersonaVersion, _LIVE, {"user_key": self._user_key})
        return live and live.model_copy(update={"status": "live"})

    def versions(self) -> tuple[PersonaVersion, ...]:
        """Return every version with the status that it has now, oldest first."""
        with self._database.read() as connection:
            return _read_versions(connection, self._user_key)

    def get(self, number: int) -> PersonaVersion:
        """Return one version with the status that it has now."""
        with self._database.read() as connection:
            return _read_version(connection, self._user_key, number)

    def add(
        self,
        persona: Persona,
        *,
        reason: str,
        status: Literal["live", "candidate", "rejected"],
        parent: int | None = None,
    ) -> PersonaVersion:
        """Record a persona as the next version, revised from `parent`; `live` promotes it at once."""
        with self._database.write() as connection:
            version = PersonaVersion(
                number=_next_version(connection, self._user_key),
                persona=persona,
                parent=parent,
                status=status,
                reason=reason,
                at=datetime.now(UTC),
            )
            _add_version(connection, self._user_key, version)
        return version

    def promote(
        self, number: int, reason: str, *, while_live: Callable[[PersonaVersion | None], bool] = lambda _live: True
    ) -> PersonaVersion:
        """Make a version live, whatever it was before; to promote an older version again is a rollback.

        `while_live` returns whether the caller knows of the version that is live until then.

        Raises:
            ChangedError: Another version is live than the caller knows of.
            InputError: It is live already.
        """
        with self._database.write() as connection:
            versions = _read_versions(connection, self._user_key)
            if not while_live(next((version for version in versions if version.status == "live"), None)):
                raise ChangedError("another persona version is live by now: look at it first")
            if _read_version(connection, self._user_key, number).status == "live":
                raise InputError(f"persona version {number} is live already")
            promotion = Promotion(number=number, reason=reason, at=datetime.now(UTC))
            PROMOTIONS.append(connection, self._user_key, [promotion])
            return _read_version(connection, self._user_key, number)

    def promotions(self) -> tuple[Promotion, ...]:
        """Return every promotion, oldest first; the last one is of the live version."""
        return self._database.nouns(Promotion, PROMOTIONS.select(self._user_key))


class AlignmentLog(UserLog):
    """One user's alignments, each recorded together with the persona versions that it made, or not at all.

    None is ever changed, but for what is forgotten.

    Raises:
        UnknownNameError: Of all methods: the alignment, or its base version, is not recorded.
    """

    def all(self) -> tuple[Alignment, ...]:
        """Return every alignment in the order in which they were recorded."""
        return self._database.nouns(Alignment, ALIGNMENTS.select(self._user_key))

    def get(self, alignment_id: str) -> Alignment:
        """Return one alignment."""
        check_id("alignment id", alignment_id)
        with self._database.read() as connection:
            text = connection.scalar(ALIGNMENTS.select(self._user_key, _alignments.c.alignment_id == alignment_id))
            if text is None:
                raise UnknownNameError("alignment", alignment_id, _recorded_alignments(connection, self._user_key))
        return read(Alignment, text)

    def add(self, alignment: Alignment) -> tuple[PersonaVersion, ...]:
        """Record an alignment and, in the same transaction, one persona version for each of its candidates.

        An accepted candidate is promoted; any other is rejected. The parent of each is the version that it was revised
        from: the last one accepted before it, at first the base version.

        Returns:
            The versions that were made, oldest first, with the status that they have now.

        Raises:
            InputError: An alignment of this id is recorded already, or the base version holds another persona.
        """
        alignment_id = check_id("alignment id", alignment.alignment_id)
        with self._database.write() as connection:
            _check_base(connection, self._user_key, alignment)
            if alignment_id in _recorded_alignments(connection, self._user_key):
                raise InputError(f"alignment {alignment_id!r} is recorded already: give the new one its own id")
            ALIGNMENTS.append(connection, self._user_key, [alignment])
            first = _next_version(connection, self._user_key)
            _add_candidates(connection, self._user_key, alignment)
            return _read_versions(connection, self._user_key)[first - 1 :]

    def redact(self, redacted: Callable[[Alignment], Alignment]) -> None:
        """Replace every alignment by what `redacted` returns of it; on any error, none."""
        log = _alignments.c
        with self._database.write() as connection:
            nouns = connection.scalars(ALIGNMENTS.select(self._user_key)).all()
            for alignment in (read(Alignment, text) for text in nouns):
                if (changed := redacted(alignment)) != alignment:
                    mine, this = log.user_key == self._user_key, log.alignment_id == alignment.alignment_id
                    connection.execute(update(_alignments).where(mine, this).values(noun=written(changed)))


class JobLog(UserLog):
    """The alignments that a server was asked for, or began by itself, for one user; each as it stands."""

    def put(self, job: Job) -> Job:
        """Store a job as it stands now, in place of how it stood."""
        mine = (_jobs.c.user_key == self._user_key) & (_jobs.c.job_id == job.job_id)
        row = {
            "user_key": self._user_key,
            "job_id": job.job_id,
            "at": job.started_at.isoformat(timespec="microseconds"),
            "noun": written(job),
        }
        with self._database.write() as connection:
            connection.execute(delete(_jobs).where(mine))
            connection.execute(insert(_jobs).values(row))
        return job

    def all(self) -> tuple[Job, ...]:
        """Return every job, newest first."""
        return self._database.nouns(Job, _JOBS.select(self._user_key))[::-1]

    def get(self, job_id: str) -> Job:
        """Return one job; raises `UnknownNameError` if the user has none of this id."""
        jobs = {job.job_id: job for job in self.all()}
        if job_id not in jobs:
            raise UnknownNameError("alignment", job_id, list(jobs))
        return jobs[job_id]


def _check_base(connection: Connection, user_key: str, alignment: Alignment) -> None:
    if alignment.base_version is None:
        return
    base = _read_version(connection, user_key, alignment.base_version)
    if base.persona.fingerprint != alignment.base.fingerprint:
        raise InputError(f"alignment {alignment.alignment_id!r}: its base is not persona version {base.number}")


def _add_candidates(connection: Connection, user_key: str, alignment: Alignment) -> None:
    parent = alignment.base_version
    for step in alignment.iterations:
        if step.candidate is None:
            continue
        version = PersonaVersion(
            number=_next_version(connection, user_key),
            persona=step.candidate,
            parent=parent,
            status="live" if step.accepted else "rejected",
            alignment_id=alignment.alignment_id,
            reason=step.reason,
            at=datetime.now(UTC),
        )
        _add_version(connection, user_key, version)
        parent = version.number if step.accepted else parent


def _read_versions(connection: Connection, user_key: str) -> tuple[PersonaVersion, ...]:
    """Return the user's versions with the status that each has now, oldest first."""
    promoted = connection.scalars(
        select(_promotions.c.number).where(_promotions.c.user_key == user_key).order_by(_promotions.c.ordinal)
    ).all()

    def as_now(version: PersonaVersion) -> PersonaVersion:
        if version.number not in promoted:
            return version
        return version.model_copy(update={"status": "live" if version.number == promoted[-1] else "retired"})

    return tuple(as_now(read(PersonaVersion, text)) for text in connection.scalars(VERSIONS.select(user_key)))


def _read_version(connection: Connection, user_key: str, number: int) -> PersonaVersion:
    versions = {version.number: version for version in _read_versions(connection, user_key)}
    if number not in versions:
        raise UnknownNameError("persona version", str(number), [str(known) for known in versions])
    return versions[number]


def _next_version(connection: Connection, user_key: str) -> int:
    return next_number(connection, _versions.c.number, _versions.c.user_key == user_key) or 1


def _add_version(connection: Connection, user_key: str, version: PersonaVersion) -> None:
    """Insert a version under its number and, if it says that it is live, promote it."""
    if version.parent is not None:
        _read_version(connection, user_key, version.parent)
    live = version.status == "live"
    recorded = version.model_copy(update={"status": "candidate"}) if live else version
    VERSIONS.append(connection, user_key, [recorded])
    if live:
        promotion = Promotion(number=version.number, reason=version.reason, at=version.at)
        PROMOTIONS.append(connection, user_key, [promotion])


def _recorded_alignments(connection: Connection, user_key: str) -> list[str]:
    log = _alignments.c
    return list(connection.scalars(select(log.alignment_id).where(log.user_key == user_key).order_by(log.ordinal)))
