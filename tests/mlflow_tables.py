"""MLflow's tables, made once and copied for every other home folder: its migrations take two seconds each time."""

import sqlite3
import sys
from collections.abc import Callable
from typing import Any

_template = sqlite3.connect(":memory:", check_same_thread=False)


def copy_tables_from_now_on() -> None:
    """Let MLflow copy the tables that it made first, once it is imported."""
    utils: Any = sys.modules.get("mlflow.store.db.utils")
    if utils is not None and utils._upgrade_db.__module__ == utils.__name__:
        utils._upgrade_db = _copying(utils._upgrade_db)


def _copying(upgrade: Callable[[Any], None]) -> Callable[[Any], None]:
    def copied_or_made(engine: Any) -> None:
        if engine.dialect.name != "sqlite":
            return upgrade(engine)
        connection = engine.raw_connection()
        try:
            database: sqlite3.Connection = connection.driver_connection
            if _template.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() != (0,):
                _template.backup(database)
            else:
                upgrade(engine)
                database.backup(_template)
        finally:
            connection.close()
        return None

    return copied_or_made
