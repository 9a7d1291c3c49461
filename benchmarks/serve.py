"""What the server adds to an LM's time, up to which rate, and how many it answers beside `mlflow models serve`.

`python benchmarks/serve.py` fails if what the project promises does not hold. Users and questions are made up. The
clients and the LM share the machine with the server: what they take of it counts against the server.
"""

import argparse
import asyncio
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import mlflow
import psutil

from personaagent.data.interaction import Interaction
from personaagent.home import Home
from personaagent.settings import Settings

LATENCY_SECONDS = 0.2
MOST_MS = {0.5: 25.0, 0.99: 150.0}
"""What the server may add to the LM's time, by the share of the answers that hold it."""
MOST_GROWTH_MIB = 50.0
REGULARS, HISTORY = 100, 8
"""Users who have a history, and its length: of them is every other question."""
CLOSED_CLIENTS, CLOSED_SECONDS = 16, 5.0
READY_SECONDS = 120
OURS, MLFLOWS = "personaagent serve", "mlflow models serve"

_numbers = count()
Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


class Home10k(NamedTuple):
    """A home folder with users, and the tokens of their keys, those of the regulars first."""

    folder: Path
    tokens: Sequence[str]

    def anyone(self) -> Ask:
        """Return a question of a random user: in every other case, of a regular."""
        return asked(random.choice(self.tokens[:REGULARS] if random.random() < 0.5 else self.tokens))

    def regular(self) -> Ask:
        """Return a question of a random user with a history."""
        return asked(random.choice(self.tokens[:REGULARS]))


class Step(NamedTuple):
    """What some questions took."""

    seconds: Sequence[float]
    """From when each was due until its answer was there, shortest first."""
    errors: int

    def quantile_ms(self, share: float, lm_seconds: float) -> float:
        """Return what that share of the answers took at most, less the LM's own time."""
        return (self.seconds[ceil(share * len(self.seconds)) - 1] - lm_seconds) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rates", type=float, nargs="+", default=[4, 8, 12, 16, 20], help="questions a second, rising")
    parser.add_argument("--seconds", type=float, default=8.0, help="for which each rate is held")
    parser.add_argument("--rounds", type=int, default=2, help="beside MLflow; the best counts")
    options = parser.parse_args()
    random.seed(5)
    print(
        f"personaagent {version('personaagent')}, mlflow {mlflow.__version__}, Python {platform.python_version()}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), ignore_cleanup_errors=True) as folder:
        began = time.perf_counter()
        home = made_up(Path(folder) / "ours", options.users)
        print(
            f"{options.users} users, {REGULARS} of them with {HISTORY} interactions and every other question: "
            f"made in {time.perf_counter() - began:.0f} s"
        )
        passed = [*under_load(home, options), *beside_mlflow(home, options.rounds)]
    return 1 - all(passed)


def under_load(home: Home10k, options: argparse.Namespace) -> Iterator[bool]:
    """Raise the rate step by step until the server adds too much twice, and hold what was measured to the promises."""
    log = home.folder.parent / "lm.jsonl"
    with loopback_lm(LATENCY_SECONDS, log) as api_base, ours(home.folder, api_base) as (url, process):
        resident = psutil.Process(process.pid).memory_info
        at_start = resident().rss
        waves = [asyncio.run(at_once(url, home, options.clients)) for _ in range(2)]
        errors, warm = sum(wave.errors for wave in waves), resident().rss
        print(f"  {options.clients} clients at once, twice: {errors} errors, the last answered after {waves[1][0][-1]:.1f} s")
        highest, too_much, answers = 0.0, 0, 0
        for rate in options.rates:
            before = lines_of(log)
            step = asyncio.run(at_rate(url, home, rate, options.seconds, options.clients))
            fits = shown(rate, step, lines_of(log) - before)
            errors, answers = errors + step.errors, answers + len(step.seconds)
            highest, too_much = (rate, too_much) if fits else (highest, too_much + 1)
            if too_much == 2:
                break
        at_end = resident().rss
    print(
        f"  resident: {at_start / 2**20:.0f} MiB at the start, {warm / 2**20:.0f} MiB once warm, {at_end / 2**20:.0f} "
        f"MiB {answers} answers later"
    )
    yield held("highest rate with p50 and p99 as promised, in questions a second", highest, at_least=options.rates[0])
    yield held("errors", errors, at_most=0)
    yield held("memory once warm in MiB, growth", (at_end - warm) / 2**20, at_most=MOST_GROWTH_MIB)


def shown(rate: float, step: Step, calls: int) -> bool:
    """Print what the server added at a rate, and return whether that is as promised.

    Every answer takes as many calls to the LM, one after another. One that took more (tried again, say) is not
    excused: the whole number of calls that each had at least is what counts as the LM's time.
    """
    each = calls // max(1, len(step.seconds) + step.errors)
    if not step.seconds:
        print(f"  {rate:4g} /s: {step.errors} errors, no answer")
        return False
    added = {share: step.quantile_ms(share, each * LATENCY_SECONDS) for share in MOST_MS}
    fits = step.errors == 0 and all(added[share] <= most for share, most in MOST_MS.items())
    quantiles = ", ".join(f"p{share * 100:g} {ms:6.1f} ms" for share, ms in added.items())
    print(
        f"  {rate:4g} /s: {quantiles} over the {each} x {LATENCY_SECONDS * 1000:.0f} ms of the LM; "
        f"{len(step.seconds)} answers, {step.errors} errors{'' if fits else ': too much'}"
    )
    return fits


def beside_mlflow(home: Home10k, rounds: int) -> Iterator[bool]:
    """Ask both servers as much as they answer, in turns; the LM takes no time, the users have the same history."""
    theirs_home = made_up(home.folder.parent / "theirs", 1).folder
    with ExitStack() as up:
        api_base = up.enter_context(loopback_lm(0.0))
        our_url, _ = up.enter_context(ours(home.folder, api_base))
        try:
            their_url, _ = up.enter_context(mlflows(theirs_home, api_base))
        except NotReadyError as error:
            print(f"NOT MEASURED: {MLFLOWS} does not start here: {error}")
            yield False
            return
        kinds = {OURS: (our_url, home.regular), MLFLOWS: (their_url, asked_of_mlflow)}
        best = dict.fromkeys(kinds, 0.0)
        for number in range(rounds + 1):
            for name, (url, questions) in kinds.items():
                step = asyncio.run(closed_loop(url, questions, CLOSED_SECONDS if number else 1.0))
                rate = len(step.seconds) / (CLOSED_SECONDS if number else 1.0)
                if number:
                    best[name] = max(best[name], rate)
                    print(f"  {name:20} {rate:6.1f} answers a second to {CLOSED_CLIENTS} clients, {step.errors} errors")
    yield held(f"answers a second, against {MLFLOWS}", best[OURS] / (best[MLFLOWS] or float("inf")), at_least=1.0)


def held(what: str, value: float, *, at_least: float = 0.0, at_most: float = float("inf")) -> bool:
    passed = at_least <= value <= at_most
    promise = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    print(f"{'PASS' if passed else 'FAIL'}: {what}: {value:.2f} ({promise})")
    return passed


async def at_once(url: str, home: Home10k, clients: int) -> Step:
    """Let every client ask one question, all at the same time."""
    return await open_loop(url, [(0.0, home.anyone()) for _ in range(clients)], clients)


async def at_rate(url: str, home: Home10k, rate: float, seconds: float, clients: int) -> Step:
    """Ask at chance moments, as clients who know nothing of each other do, whether answers come or not."""
    moments = sorted(random.uniform(0, seconds) for _ in range(round(rate * seconds)))
    return await open_loop(url, [(moment, home.anyone()) for moment in moments], clients)


async def open_loop(url: str, questions: Sequence[tuple[float, Ask]], clients: int) -> Step:
    """Ask each question when it is due, by the clients in turn."""
    async with connected(url, clients) as https:
        began = time.perf_counter()

        async def one(place: int, moment: float, ask: Ask) -> float | None:
            await asyncio.sleep(began + moment - time.perf_counter())
            answered = await is_answered(ask(https[place % clients]))
            return time.perf_counter() - began - moment if answered else None

        took = await asyncio.gather(*(one(place, *question) for place, question in enumerate(questions)))
    return step_of(took)


async def closed_loop(url: str, questions: Callable[[], Ask], seconds: float) -> Step:
    """Let clients ask, each the next question as soon as it has an answer; what ends too late does not count."""
    end = time.perf_counter() + seconds

    async def client(http: httpx.AsyncClient) -> list[float | None]:
        took: list[float | None] = []
        while (began := time.perf_counter()) < end:
            answered = await is_answered(questions()(http))
            if (now := time.perf_counter()) < end:
                took.append(now - began if answered else None)
        return took

    async with connected(url, CLOSED_CLIENTS) as https:
        return step_of([each for took in await asyncio.gather(*map(client, https)) for each in took])


def step_of(took: Sequence[float | None]) -> Step:
    seconds = sorted(each for each in took if each is not None)
    return Step(seconds, len(took) - len(seconds))


async def is_answered(response: Awaitable[httpx.Response]) -> bool:
    try:
        return (await response).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def connected(url: str, clients: int) -> AsyncGenerator[list[httpx.AsyncClient]]:
    """Give so many clients, each with connections of its own, which it lets go before the server does."""
    limits = httpx.Limits(keepalive_expiry=2.0)
    async with AsyncExitStack() as stack:
        made = (
            httpx.AsyncClient(base_url=url, timeout=60, limits=limits, verify=False, trust_env=False)  # noqa: S501
            for _ in range(clients)
        )
        yield [await stack.enter_async_context(client) for client in made]


def asked(token: str) -> Ask:
    body = {"model": "personaagent", "messages": [{"role": "user", "content": question()}]}
    return lambda http: http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {token}"})


def asked_of_mlflow() -> Ask:
    body = {"dataframe_records": [{"query": question()}]}
    return lambda http: http.post("/invocations", json=body)


def question() -> str:
    return f"Is there a film like number {next(_numbers)} for a long evening with an old friend?"


def made_up(folder: Path, users: int) -> Home10k:
    """Store users, each with a key; the regulars have a history, which is in the index too."""
    with Home(Settings(home=folder, embedder="minilm")) as home:
        tokens = [home.store.keys.create("user", user_id=f"user {number}")[1] for number in range(users)]
        for number in range(min(users, REGULARS)):
            home.store.user(f"user {number}").interactions.add([_seen(number, place) for place in range(HISTORY)])
    return Home10k(folder, tokens)


def _seen(number: int, place: int) -> Interaction:
    query = f"Does film {number * 7 + place * 3} suit evening {place}?"
    return Interaction(interaction_id=f"{number}-{place}", query=query, ground_truth=f"Rather film {number + place}.")


def lines_of(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0
