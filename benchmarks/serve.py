"""What the server adds to an LM's time, up to which rate, and how many it answers beside `mlflow models serve`.

`python benchmarks/serve.py` fails if what the project promises does not hold. Users and questions are made up. The
clients and the LM share the machine with the server: what they take of it counts against the server. What the LM takes
when it is asked directly, at the same rate, is measured beside it: a machine that wakes up late is late for both. What
a fixed piece of work takes is printed beside each rate: a machine that is shared may be half as fast a minute later.
"""

import argparse
import asyncio
import gc
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from itertools import count
from math import ceil
from pathlib import Path
from typing import NamedTuple

import httpx
import mlflow
import psutil

from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona
from personaagent.home import Home
from personaagent.settings import Settings

sys.path.append(str(Path(__file__).parent))
from _machine import machine_ms
from _servers import NotReadyError, loopback_lm, mlflows, ours

LATENCY_SECONDS = 0.2
MOST_MS = {0.5: 25.0, 0.99: 150.0}
"""What the server may add to the LM's time, by the share of the answers that hold it."""
MOST_GROWTH_MIB = 50.0
REGULARS, HISTORY = 50, 8
"""Users who have a history, and its length: every other question is theirs. The rest begin with nothing."""
CLOSED_CLIENTS, CLOSED_SECONDS = 16, 5.0
OURS, MLFLOWS = "personaagent serve", "mlflow models serve"  # each with one worker
MLFLOWS_KEEPING = f"{MLFLOWS}, which keeps as much"

_numbers = count()
Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


class Served(NamedTuple):
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

    def quantile_ms(self, share: float) -> float:
        """Return what that share of the answers took at most."""
        return self.seconds[ceil(share * len(self.seconds)) - 1] * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    rates = [2, 4, 8, 12, 16, 20, 24]
    parser.add_argument("--rates", type=float, nargs="+", default=rates, help="questions a second, rising")
    parser.add_argument("--seconds", type=float, default=8.0, help="for which each rate is held")
    parser.add_argument("--rounds", type=int, default=3, help="beside MLflow; the best counts")
    options = parser.parse_args()
    random.seed(5)
    print(
        f"personaagent {version('personaagent')}, mlflow {mlflow.__version__}, Python {platform.python_version()}; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), ignore_cleanup_errors=True) as folder:
        (Path(folder) / ".gitignore").write_text("*\n")
        began = time.perf_counter()
        home = made_up(Path(folder) / "ours", options.users)
        print(
            f"{options.users} users, made in {time.perf_counter() - began:.0f} s; every other question is from one of "
            f"{REGULARS} who have {HISTORY} interactions each, the rest from anyone"
        )
        passed = [*under_load(home, options), *beside_mlflow(home, options.rounds)]
    return 1 - all(passed)


def under_load(home: Served, options: argparse.Namespace) -> Iterator[bool]:
    """Raise the rate step by step, and hold what was measured to the promises."""
    log = home.folder.parent / "lm.jsonl"
    gc.collect()
    gc.freeze()  # The clients' collector stops all of them: 0.1 s each time, if it looks through what was imported too.
    with loopback_lm(LATENCY_SECONDS, log) as api_base, ours(home.folder, api_base) as (url, process):
        server = psutil.Process(process.pid)
        memory = [resident_bytes(server)]
        waves = [asyncio.run(at_once(url, home, options.clients)) for _ in range(2)]
        memory.append(resident_bytes(server))
        slowest = max((wave.seconds[-1] for wave in waves if wave.seconds), default=float("nan"))
        errors = sum(wave.errors for wave in waves)
        print(f"  {options.clients} clients at once, twice: {errors} errors, the last answer after {slowest:.1f} s")
        steps: list[Step] = []
        fitting: list[float] = []
        for rate in options.rates:
            before, cpu = lines_of(log), cpu_seconds(server)
            step = asyncio.run(at_rate(url, home.anyone, rate, options.seconds, options.clients))
            steps.append(step)
            cpu, calls = cpu_seconds(server) - cpu, (lines_of(log) - before) // max(1, len(step.seconds) + step.errors)
            directly = partial(asked_directly, calls)
            lm = asyncio.run(at_rate(api_base, directly, rate, options.seconds, options.clients))
            if shown(rate, step, lm, calls, cpu):
                fitting.append(rate)
        memory.append(resident_bytes(server))
    at_start, warm, at_end = (size / 2**20 for size in memory)
    answers = sum(len(step.seconds) for step in steps)
    print(f"  resident: {at_start:.0f} MiB at first, {warm:.0f} once warm, {at_end:.0f} {answers} answers later")
    errors += sum(step.errors for step in steps)
    yield held("questions a second, p50 and p99 as promised", max(fitting, default=0.0), at_least=min(options.rates))
    yield held("errors", errors, at_most=0)
    yield held("MiB that memory grew once warm", at_end - warm, at_most=MOST_GROWTH_MIB)


def shown(rate: float, step: Step, lm: Step, calls: int, cpu: float) -> bool:
    """Print what the server added at a rate to what the LM took that was asked as often; return whether it may."""
    if not step.seconds or not lm.seconds:
        print(f"  {rate:4g} /s: {step.errors} errors, no answer")
        return False
    answers = len(step.seconds)
    added = {share: step.quantile_ms(share) - lm.quantile_ms(share) for share in MOST_MS}
    fits = step.errors == 0 and all(added[share] <= most for share, most in MOST_MS.items())
    quantiles = ", ".join(
        f"p{share * 100:g} {added[share]:6.1f} ms over {lm.quantile_ms(share):.0f}" for share in MOST_MS
    )
    print(
        f"  {rate:4g} /s: {quantiles} of the LM asked {calls} times; {answers} answers, {step.errors} errors, "
        f"{cpu / answers * 1000:.0f} ms CPU each{'' if fits else ': too much'} (fixed work: {machine_ms():.1f} ms)"
    )
    return fits


def resident_bytes(server: psutil.Process) -> int:
    """Return what a server and the processes that it started have in memory; what they share counts for each."""
    return sum(process.memory_info().rss for process in (server, *server.children(recursive=True)))


def cpu_seconds(server: psutil.Process) -> float:
    """Return what a server and the processes that it started have computed."""
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def beside_mlflow(home: Served, rounds: int) -> Iterator[bool]:
    """Ask both servers as much as they answer, in turns; the LM takes no time, the users have the same history."""
    theirs, keeping = (made_up(home.folder.parent / name, 1).folder for name in ("theirs", "keeping"))
    with ExitStack() as up:
        api_base = up.enter_context(loopback_lm(0.0))
        our_url, _ = up.enter_context(ours(home.folder, api_base))
        try:
            their_url, _ = up.enter_context(mlflows(theirs, api_base))
            keeping_url, _ = up.enter_context(mlflows(keeping, api_base, keeping=True))
        except NotReadyError as error:
            print(f"NOT MEASURED: {MLFLOWS} does not start here: {error}")
            yield False
            return
        kinds = {
            OURS: (our_url, home.regular),
            MLFLOWS: (their_url, asked_of_mlflow),
            MLFLOWS_KEEPING: (keeping_url, asked_of_mlflow),
        }
        for url, questions in kinds.values():
            asyncio.run(closed_loop(url, questions, CLOSED_SECONDS))
        best, errors = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0)
        for _ in range(rounds):
            for name, (url, questions) in kinds.items():
                step = asyncio.run(closed_loop(url, questions, CLOSED_SECONDS))
                rate = len(step.seconds) / CLOSED_SECONDS
                best[name], errors[name] = max(best[name], rate), errors[name] + step.errors
                at = f"{step.errors} errors (fixed work: {machine_ms():.1f} ms)"
                print(f"  {name:43} {rate:6.1f} answers a second to {CLOSED_CLIENTS} clients, {at}")
    yield held("errors of any", sum(errors.values()), at_most=0)
    for name in (MLFLOWS, MLFLOWS_KEEPING):
        if best[name]:
            yield held(f"answers a second, against {name}", best[OURS] / best[name], at_least=1.0)
        else:
            print(f"NOT MEASURED: {name} gave no answer")
            yield False


def held(what: str, value: float, *, at_least: float = 0.0, at_most: float = float("inf")) -> bool:
    passed = at_least <= value <= at_most
    promise = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    print(f"{'PASS' if passed else 'FAIL'}: {what}: {value:.2f} ({promise})")
    return passed


async def at_once(url: str, home: Served, clients: int) -> Step:
    """Let every client ask one question, all at the same time."""
    return await open_loop(url, [(0.0, home.anyone()) for _ in range(clients)], clients)


async def at_rate(url: str, questions: Callable[[], Ask], rate: float, seconds: float, clients: int) -> Step:
    """Ask at chance moments, as clients who know nothing of each other do, whether answers come or not."""
    moments = sorted(random.uniform(0, seconds) for _ in range(round(rate * seconds)))
    return await open_loop(url, [(moment, questions()) for moment in moments], clients)


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
    body = {"inputs": [question()]}
    return lambda http: http.post("/invocations", json=body)


def asked_directly(calls: int) -> Ask:
    """Return a question to the LM itself, so many times, one after another."""
    body = {"model": "made-up", "messages": [{"role": "user", "content": "a word and another " * 100}]}

    async def ask(http: httpx.AsyncClient) -> httpx.Response:
        for _ in range(calls - 1):
            (await http.post("chat/completions", json=body)).raise_for_status()
        return await http.post("chat/completions", json=body)

    return ask


def question() -> str:
    return f"Is there a film like number {next(_numbers)} for a long evening with an old friend?"


def made_up(folder: Path, users: int) -> Served:
    """Store users, each with a key; the regulars have a history, which is in the index too."""
    with Home(Settings(home=folder, embedder="minilm")) as home:
        tokens = [home.store.keys.create("user", user_id=f"user {number}")[1] for number in range(users)]
        for number in range(min(users, REGULARS)):
            user = home.store.user(f"user {number}")
            user.interactions.add([_seen(number, place) for place in range(HISTORY)])
            user.personas.add(Persona(), reason="made up", status="live")
    return Served(folder, tokens)


def _seen(number: int, place: int) -> Interaction:
    query = f"Does film {number * 7 + place * 3} suit evening {place}?"
    return Interaction(interaction_id=f"{number}-{place}", query=query, ground_truth=f"Rather film {number + place}.")


def lines_of(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
