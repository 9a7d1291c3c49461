"""What MLflow already has: the persona versions that were mirrored, and those that wait."""

from sqlalchemy import ColumnElement, insert, select

from ..errors import InputError
from ..persona import PersonaVersion
from . import schema
from .database import Database
from .handle import Handle
from .personas import read_version, read_versions

_table = schema.mirrored


class MirrorLog(Handle):
    """Which of one user's persona versions MLflow has."""

    def __init__(self, database: Database, user_key: str) -> None:
        self._database, self._user_key = database, user_key

    def pending(self) -> tuple[PersonaVersion, ...]:
        """Return the versions that MLflow does not have yet, oldest first."""
        with self._database.read() as connection:
            done = set(connection.scalars(select(_table.c.number).where(self._mine)))
            return tuple(one for one in read_versions(connection, self._user_key) if one.number not in done)

    def mlflow_version(self, number: int) -> int | None:
        """Return the number under which MLflow has a persona version, None if it does not have it."""
        with self._database.read() as connection:
            rows = connection.execute(select(_table.c.number, _table.c.mlflow_version).where(self._mine))
            return next((mlflow_version for mirrored, mlflow_version in rows if mirrored == number), None)

    def done(self, number: int, mlflow_version: int) -> None:
        """Record that MLflow has a persona version. Recording the same again does nothing.

        Args:
            number: Of the persona version.
            mlflow_version: The number that MLflow gave it.

        Raises:
            UnknownNameError: There is no version of this number.
            InputError: MLflow has it already, under another number.
            StorageError: The disk is full or refuses to write.
        """
        with self._database.write() as connection:
            read_version(connection, self._user_key, number)
            which = self._mine & (_table.c.number == number)
            known = connection.scalar(select(_table.c.mlflow_version).where(which))
            if known is None:
                row = {"user_key": self._user_key, "number": number, "mlflow_version": mlflow_version}
                connection.execute(insert(_table).values(row))
            elif known != mlflow_version:
                raise InputError(f"persona version {number} is mirrored already, as MLflow's version {known}")

    @property
    def _mine(self) -> ColumnElement[bool]:
        return _table.c.user_key == self._user_key
