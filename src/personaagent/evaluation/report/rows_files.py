"""The rows of all tasks in one file each for people (JSON lines) and for data frames (Parquet)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.alignment import Spend
from ..rows import Row

if TYPE_CHECKING:
    from pyarrow import Schema


def write_jsonl(rows: Sequence[Row], path: Path) -> None:
    """Write a row a line."""
    path.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write a column for each field of a row; those of its spends are `spend.calls`, `preparation.calls` and so on.

    Probabilities are a JSON object of answers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([_flat(row) for row in rows], schema=_schema()), path)


def _schema() -> "Schema":
    import pyarrow as pa

    spend = {"calls": pa.int64(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64()}
    spend |= {"dollars": pa.float64(), "seconds": pa.float64()}
    names = [name for name in Row.model_fields if name not in {"spend", "preparation"}]
    columns = [(name, pa.float64() if name == "score" else pa.string()) for name in names]
    for spent in ("spend", "preparation"):
        columns += [(f"{spent}.{name}", kind) for name, kind in spend.items()]
    return pa.schema(columns)


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = row.model_dump(exclude={"spend", "preparation"})
    flat["probabilities"] = row.probabilities and json.dumps(row.probabilities)
    for name, spend in (("spend", row.spend), ("preparation", row.preparation)):
        flat |= {f"{name}.{field}": spend and getattr(spend, field) for field in Spend.model_fields}
    return flat
