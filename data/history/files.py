"""Rows of a history: from a file, a dataset of the Hugging Face hub, or what a program holds."""

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from ..errors import InputError, RecordError
from ..record import Record

Source = Path | str | Iterable[Mapping[str, Any]]
"""A file, the name of a dataset on the hub, or the rows themselves: dicts, a `datasets.Dataset`, a pandas frame."""

JSON = (".jsonl", ".ndjson", ".json")
TABLES = {".csv": ",", ".tsv": "\t", ".parquet": ""}
SUFFIXES = (*JSON, *TABLES)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_IN_MEMORY = "rows"


def name_of(source: Source) -> str:
    """Return what an error calls a source."""
    return str(source) if isinstance(source, Path | str) else _IN_MEMORY


def rows_of(source: Source, split: str = "train") -> Iterator[Record]:
    """Yield the rows of a source in their order; `split` is one of a dataset on the hub."""
    if not isinstance(source, Path | str):
        yield from _in_memory(source)
    elif isinstance(source, str) and not Path(source).exists() and _HUB_NAME.fullmatch(source):
        yield from _of_hub(source, split)
    elif (file := Path(source)).suffix.lower() in TABLES:
        yield from _table(file)
    elif file.suffix.lower() in JSON:
        yield from _json(file)
    else:
        raise InputError(f"{file}: cannot tell what this is: files end in {', '.join(SUFFIXES)}")


def _in_memory(source: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    frame: Any = source  # A pandas frame, if it can become records.
    yield from _records(_IN_MEMORY, frame.to_dict("records") if hasattr(frame, "to_records") else source)


def _records(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for number, row in enumerate(rows, 1):
        yield Record(name, f"row {number}", {field: value for field, value in row.items() if not _is_missing(value)})


def _is_missing(value: object) -> bool:
    return value is None or value == "" or value != value  # noqa: PLR0124 (not a number is not itself)


def _table(file: Path) -> Iterator[Record]:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    pandas: Any = pd
    separator = TABLES[file.suffix.lower()]
    with _reading(str(file)):
        as_texts = {"sep": separator, "dtype": str, "keep_default_na": False}
        try:
            frame = pandas.read_csv(file, **as_texts) if separator else pandas.read_parquet(file)
        except pandas.errors.EmptyDataError:
            return
    yield from _records(str(file), frame.to_dict("records"))


def _of_hub(name: str, split: str) -> Iterator[Record]:
    import datasets as hub  # pyright: ignore[reportMissingTypeStubs]

    datasets: Any = hub
    with _reading(name):
        rows = datasets.load_dataset(name, split=split)
    yield from _records(name, rows)


@contextmanager
def _reading(name: str) -> Generator[None]:
    """Name the source that cannot be read inside."""
    try:
        yield
    except (OSError, ValueError) as error:  # Those of pandas, datasets and the hub are of these kinds.
        raise InputError(f"{name}: cannot be read: {' '.join(str(error).split())[:300]}") from error


def _json(file: Path) -> Iterator[Record]:
    text = _decoded(file)
    if text.lstrip().startswith("["):
        yield from (Record(file, f"item {number}", item) for number, item in enumerate(_array(file, text), 1))
        return
    if file.suffix.lower() == ".json":
        yield Record(file, "the object", _parsed(file, "the object", text))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield Record(file, f"line {number}", _parsed(file, f"line {number}", line))


def _array(file: Path, text: str) -> list[object]:
    value = _parsed(file, "the array", text)
    if not isinstance(value, list):
        raise RecordError(file, "the array", None, "is no array: write [ before the first object and ] after the last")
    return cast("list[object]", value)


def _decoded(file: Path) -> str:
    try:
        raw = file.read_bytes()
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecordError(file, f"line {line}", None, f"is not UTF-8: {error}: save the file as UTF-8") from error


def _parsed(file: Path, name: str, text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refused)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} character {error.colno}" if error.lineno > 1 else f"character {error.colno}"
        raise RecordError(file, name, None, f"malformed JSON: {error.msg} at {where}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(file, name, None, f"malformed JSON: {error}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice: keep one of them")
    return fields


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON: leave the field out")
