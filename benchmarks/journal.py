"""What the call journal costs: the same calls to a loopback LM, plain and journalled, in alternating rounds.

`python benchmarks/journal.py` fails if the journal costs more than a tenth of the time. The best round of each kind
counts: what else goes on in the machine can only slow a round down.
"""

import argparse
import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import dspy

from personaagent.data.store import Store
from personaagent.journal import AGENT, new_run, open_run
from personaagent.lms import open_lm
from personaagent.programs.adapter import TerseJSONAdapter

sys.path.append(str(Path(__file__).parents[1] / "tests" / "journal"))
from deterministic_lm import deterministic_lm

CONCURRENCY = 32
LATENCY_SECONDS = 0.05
MOST = 1.10
"""The journalled time, as a multiple of the plain one."""


class Round(NamedTuple):
    """Seconds that the calls took."""

    plain: float
    journalled: float
    resumed: float

    @property
    def ratio(self) -> float:
        return self.journalled / self.plain


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=320, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    print(
        f"personaagent {version('personaagent')}, dspy {dspy.__version__}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    ideal = CONCURRENCY / LATENCY_SECONDS
    print(
        f"{options.calls} calls a round, {CONCURRENCY} at a time, to a loopback LM that answers after "
        f"{LATENCY_SECONDS * 1000:.0f} ms: at most {ideal:.0f} calls/s"
    )
    with deterministic_lm(LATENCY_SECONDS) as api_base:
        lm = open_lm("openai/made-up", api_base=api_base)
        measured(lm, CONCURRENCY)
        rounds = [
            shown(measured(lm, options.calls, journalled_first=number % 2 == 1), options.calls)
            for number in range(options.rounds)
        ]
    return verdict(rounds, options.calls)


def measured(lm: dspy.LM, calls: int, *, journalled_first: bool = False) -> Round:
    kinds = (journalled, plain) if journalled_first else (plain, journalled)
    return Round(**{name: seconds for kind in kinds for name, seconds in kind(lm, calls).items()})


def plain(lm: dspy.LM, calls: int) -> dict[str, float]:
    with dspy.context(lm=lm, disable_history=True):
        return {"plain": timed(calls)}


def journalled(lm: dspy.LM, calls: int) -> dict[str, float]:
    """Make the calls in a new run in a new database, then take the run up again."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, Store.open(Path(folder) / "store.db") as store:
        with open_run(store.journal, new_run("bench", run_id="bench"), {AGENT: lm}):
            first = timed(calls)
        with open_run(store.journal, new_run("bench", run_id="bench"), {AGENT: lm}) as again:
            resumed = timed(calls)
        assert again.repeated == calls
    return {"journalled": first, "resumed": resumed}


def timed(calls: int) -> float:
    began = time.perf_counter()
    with dspy.context(adapter=TerseJSONAdapter()):
        answers = asyncio.run(asked(calls))
    assert len(answers) == calls
    return time.perf_counter() - began


async def asked(calls: int) -> list[str]:
    predict = dspy.Predict("question -> answer")
    turns = asyncio.Semaphore(CONCURRENCY)

    async def ask(number: int) -> str:
        async with turns:
            return (await predict.acall(question=f"made-up question {number}")).answer

    return await asyncio.gather(*map(ask, range(calls)))


def shown(one: Round, calls: int) -> Round:
    rates = f"plain {calls / one.plain:4.0f} calls/s, journalled {calls / one.journalled:4.0f} calls/s"
    print(f"  {rates}, x {one.ratio:.2f}")
    return one


def verdict(rounds: list[Round], calls: int) -> int:
    best = Round(*map(min, zip(*rounds, strict=True)))
    print(
        f"best: plain {calls / best.plain:.0f} calls/s, journalled {calls / best.journalled:.0f} calls/s, "
        f"x {best.ratio:.3f} (median round x {statistics.median(one.ratio for one in rounds):.3f}); "
        f"taken up again, all from the journal: {best.resumed / calls * 1000:.1f} ms a call"
    )
    passed = best.ratio <= MOST
    print(f"{'PASS' if passed else 'FAIL'}: the journal may cost a factor of {MOST:.2f}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
