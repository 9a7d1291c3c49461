"""From a laptop to a million users: what is stored of each, what a day of theirs costs, and how fast one is found.

`python benchmarks/scale.py` makes up users in a SQLite store and keeps a copy at each size. Then it reads a user's
interactions and live persona, adds an interaction, and adds a user, in each copy by turns: a machine that is slow for a
minute is slow for all of them. It fails if any of these takes more than a tenth longer in a larger store than in the
smallest. Users, personas and questions are made up; their rows are those that the store writes, thousands of users a
transaction.
"""

import argparse
import itertools
import os
import platform
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import insert

from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine, PersonaVersion
from personaagent.data.store import Store
from personaagent.data.store.interactions import INTERACTIONS
from personaagent.data.store.log import UserTable, user_key
from personaagent.data.store.personas import PROMOTIONS, VERSIONS, Promotion
from personaagent.data.store.tables import users

sys.path.append(str(Path(__file__).parent))
from _machine import machine_ms

SIZES = [1_000, 10_000, 100_000, 1_000_000]
HISTORY = 3
"""Interactions of each user."""
AT_ONCE = 5_000
MOST = 1.10
"""The time in a larger store, as a multiple of that in the smallest."""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
INTERACTIONS_A_DAY = 10
ANSWER, ALIGNMENT = (1, 553, 20), (4.6, 2_207, 400)
"""Calls and prompt tokens are those of docs/results, answer tokens are assumed. An alignment follows every ten ground
truths."""

Row = dict[str, Any]
Call = Callable[[Store, str], object]


class MadeUp(NamedTuple):
    """Rows of which every user gets some."""

    interactions: list[Row]
    version: Row
    promotion: Row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of users, rising")
    parser.add_argument("--rounds", type=int, default=1_200, help="of every call, in every store")
    parser.add_argument("--usd", type=float, nargs=2, default=(0.40, 1.60), help="a million tokens of prompts, answers")
    options = parser.parse_args()
    random.seed(7)
    print(
        f"personaagent {version('personaagent')}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, a fixed piece of work takes {machine_ms():.1f} ms"
    )
    with tempfile.TemporaryDirectory(prefix="personaagent-scale-") as folder:
        files = list(grown(Path(folder), options.sizes))
        took = measured(dict(zip(options.sizes, files, strict=True)), options.rounds)
        return report(took, options)


def grown(folder: Path, sizes: list[int]) -> Iterator[Path]:
    """Let one store grow, and yield a copy of its file at each size."""
    rows, stored, growing = made_up(), 0, folder / "store.db"
    for size in sizes:
        began = time.perf_counter()
        with Store.open(growing) as store:
            for first in range(stored, size, AT_ONCE):
                add_users(store, range(first, min(first + AT_ONCE, size)), rows)
        seconds, added, stored = time.perf_counter() - began, size - stored, size
        copy = Path(shutil.copy(growing, folder / f"{size}.db"))
        size_of_each = copy.stat().st_size / size
        print(
            f"{size:>9,} users: {copy.stat().st_size / 2**20:7,.0f} MiB, {size_of_each:,.0f} bytes each, with "
            f"{HISTORY} interactions and a persona; made at {added / seconds:,.0f} a second"
        )
        yield copy


def made_up() -> MadeUp:
    def row(table: UserTable[Any], noun: Any) -> Row:
        return table._row("", 0, noun)

    interactions = [
        Interaction(
            interaction_id=f"made-up-{number}",
            query=f"Made-up question {number}: which of these films would suit a quiet evening with friends?",
            ground_truth=f"Made-up answer {number}: something slow, with music, and not too sad.",
            at=BEGAN + timedelta(hours=number),
        )
        for number in range(60)
    ]
    lines = [
        PersonaLine(section="preferences", text=f"Made-up preference {number}: likes slow films with good music.")
        for number in range(5)
    ]
    live = PersonaVersion(
        number=1, persona=Persona(lines=tuple(lines)), status="candidate", reason="made up", at=BEGAN, parent=None
    )
    promotion = Promotion(number=1, reason="made up", at=BEGAN)
    rows = [row(INTERACTIONS, interaction) for interaction in interactions]
    return MadeUp(rows, row(VERSIONS, live), row(PROMOTIONS, promotion))


def add_users(store: Store, numbers: range, rows: MadeUp) -> None:
    """Insert users with what they have, in one transaction."""
    keys = {number: user_key(name(number)) for number in numbers}
    own = [{"key": key, "user_id": name(number), "ordinal": number} for number, key in keys.items()]
    histories = [
        {**row, "user_key": key, "position": place}
        for key in keys.values()
        for place, row in enumerate(random.sample(rows.interactions, HISTORY))
    ]
    with store.database.write() as connection:
        connection.execute(insert(users), own)
        connection.execute(insert(INTERACTIONS.table), histories)
        for table, row in ((VERSIONS, rows.version), (PROMOTIONS, rows.promotion)):
            connection.execute(insert(table.table), [{**row, "user_key": key} for key in keys.values()])


def name(number: int) -> str:
    return f"made-up-user-{number}"


_added = itertools.count()


def add_interaction(store: Store, user_id: str) -> None:
    new = Interaction(interaction_id=f"added-{next(_added)}", query="A made-up question?", ground_truth="made up")
    store.user(user_id).interactions.add([new])


CALLS: dict[str, Call] = {
    "read a user's interactions": lambda store, user_id: store.user(user_id).interactions.all(),
    "read a user's live persona": lambda store, user_id: store.user(user_id).personas.live,
    "add an interaction": add_interaction,
    "add a user": lambda store, _: store.add_user(f"added-user-{next(_added)}"),
}


def measured(files: dict[int, Path], rounds: int) -> dict[str, dict[int, float]]:
    """Return the median seconds of each call by the size of the store."""
    took: dict[str, dict[int, list[float]]] = {call: {size: [] for size in files} for call in CALLS}
    for file in files.values():
        read_through(file)
    stores = {size: Store.open(file) for size, file in files.items()}
    for _, (name_of_call, call) in itertools.product(range(rounds), CALLS.items()):
        for size in random.sample(sorted(stores), len(stores)):
            user_id = name(random.randrange(size))
            began = time.perf_counter()
            call(stores[size], user_id)
            took[name_of_call][size].append(time.perf_counter() - began)
    for store in stores.values():
        store.close()
    return {call: {size: median(seconds) for size, seconds in sizes.items()} for call, sizes in took.items()}


def read_through(file: Path) -> None:
    """Read a file once: the machine has all of them in memory then, and not those alone that it wrote last."""
    with file.open("rb") as reading:
        while reading.read(2**24):
            pass


def report(took: dict[str, dict[int, float]], options: argparse.Namespace) -> int:
    sizes: list[int] = options.sizes
    print(f"\n{'milliseconds, median':30}" + "".join(f"{size:>14,}" for size in sizes))
    worst = 0.0
    for call, seconds in took.items():
        first = seconds[sizes[0]]
        worst = max(worst, *(each / first for each in seconds.values()))
        shown = "".join(f"{seconds[size] * 1000:>8.2f} x{seconds[size] / first:4.2f}" for size in sizes)
        print(f"{call:30}{shown}")
    print(f"\n{'a day of all users':30}" + "".join(f"{size:>14,}" for size in sizes))
    for unit, each in day(*options.usd).items():
        print(f"{unit:30}" + "".join(f"{each * size:>14,.0f}" for size in sizes))
    passed = worst <= MOST
    print(f"\n{'PASS' if passed else 'FAIL'}: at most x{MOST:.2f} of the time with {sizes[0]:,} users; x{worst:.2f}")
    return 0 if passed else 1


def day(usd_prompt: float, usd_answer: float) -> dict[str, float]:
    """Return what one user needs a day: ten answers and an alignment."""
    calls, prompt, answer = (
        INTERACTIONS_A_DAY * of_answer + of_alignment for of_answer, of_alignment in zip(ANSWER, ALIGNMENT, strict=True)
    )
    dollars = (prompt * usd_prompt + answer * usd_answer) / 1e6
    return {"calls": calls, "prompt tokens": prompt, "answer tokens": answer, "dollars": dollars}


if __name__ == "__main__":
    sys.exit(main())
