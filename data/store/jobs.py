"""The alignments that a server was asked for, or began by itself, for one user."""

from sqlalchemy import delete, insert, select

from ..errors import UnknownNameError
from ..job import Job
from . import schema
from .database import Database
from .rows import Handle, read, written

_table = schema.jobs


class JobLog(Handle):
    """One user's jobs, each as it stands."""

    def __init__(self, database: Database, user_key: str) -> None:
        self._database, self._user_key = database, user_key

    def put(self, job: Job) -> Job:
        """Store a job as it stands now, in place of how it stood."""
        mine = (_table.c.user_key == self._user_key) & (_table.c.job_id == job.job_id)
        row = {
            "user_key": self._user_key,
            "job_id": job.job_id,
            "at": job.started_at.isoformat(timespec="microseconds"),
            "noun": written(job),
        }
        with self._database.write() as connection:
            connection.execute(delete(_table).where(mine))
            connection.execute(insert(_table).values(row))
        return job

    def all(self) -> tuple[Job, ...]:
        """Return every job, newest first."""
        rows = select(_table.c.noun).where(_table.c.user_key == self._user_key).order_by(_table.c.at.desc())
        with self._database.read() as connection:
            return tuple(read(Job, text) for text in connection.scalars(rows))

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            UnknownNameError: The user has none of this id.
        """
        jobs = {job.job_id: job for job in self.all()}
        if job_id not in jobs:
            raise UnknownNameError("alignment", job_id, list(jobs))
        return jobs[job_id]
