"""What hostile users and failing services do to a server and to the others on it.

`python benchmarks/attack.py` starts real servers, one for each attack, with an LM on this machine that answers within
50 ms unless the question tells it to be slow or to drip. A bystander asks all the while. Users and words are made up.
"""

import asyncio
import platform
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from personaagent.home import Home
from personaagent.settings import Settings

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "tests"))
from _servers import free_port, served
from loopback import Asked, Loopback, Reply, loopback

SLOW, DRIPPING = "a slow film", "a dripping film"
DOLLARS_A_DAY, PRICE, TOKENS_A_CALL = 3.5, 1000.0, 10
"""Of a key, for a million tokens, and what the LM's server says of each call."""
SECONDS, A_SECOND = 15.0, 8.0
"""For how long the bystander asks, and how often."""
MOST_BYSTANDER_SECONDS, MOST_SIGTERM_SECONDS, MOST_MIB = 1.0, 35.0, 100.0

Attack = Callable[["Up"], Awaitable[str | None]]


class Up(NamedTuple):
    """A server under attack."""

    url: str
    process: psutil.Process
    folder: Path
    lm: Loopback
    keys: Mapping[str, str]

    def client(self, user: str, timeout: float = 120) -> httpx.AsyncClient:
        """Return a client of a user."""
        headers = {"Authorization": f"Bearer {self.keys[user]}"}
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, limits=limits)

    @property
    def mib(self) -> float:
        """What the server and its processes have in memory."""
        return sum(one.memory_info().rss for one in (self.process, *self.process.children(recursive=True))) / 2**20


def main() -> int:
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores; bystander: {A_SECOND:g} questions a second")
    results = [money(), stopped(), *(stalled(name, attack) for name, attack in STALLS.items()), *grown()]
    return 1 - all(results)


def money() -> bool:
    """Spend as much as a capped key can: on answers, on alignments, and on alignments that nobody asked for."""
    capped = ("--align-every", "1", "--dollars-per-day", str(DOLLARS_A_DAY))
    with attacked(*capped, PERSONAAGENT_PRICE=f"{PRICE},{PRICE}") as up:

        async def spend() -> None:
            async with up.client("mallory") as client:
                for number in range(20):
                    await client.post("/v1/chat/completions", json=asked(f"film {number}"))
                    told = {"query": f"film {number}?", "ground_truth": f"noir {number}"}
                    await client.post("/v1/interactions", json=told)
                    await client.post("/v1/alignments", json={})
            await asyncio.sleep(5)

        asyncio.run(spend())
        calls = len(up.lm.asked)
    spent = calls * TOKENS_A_CALL * PRICE / 1e6
    detail = f"{calls} calls to the LM, ${spent:.2f} of ${DOLLARS_A_DAY:g} a day"
    return held("capped key", detail, spent <= DOLLARS_A_DAY)


def stopped() -> bool:
    """Stop a server while an answer and an alignment wait for an LM that drips."""
    with attacked() as up:

        async def begin() -> None:
            async with up.client("mallory") as client:
                for number in range(3):
                    told = {"query": f"{DRIPPING} {number}", "ground_truth": "noir"}
                    await client.post("/v1/interactions", json=told)
                await client.post("/v1/alignments", json={})
                with suppress(httpx.HTTPError):
                    await client.post("/v1/chat/completions", json=asked(DRIPPING), timeout=2)
            async with up.client("bystander") as client:
                waiting = asyncio.create_task(client.post("/v1/chat/completions", json=asked(DRIPPING)))
                await asyncio.sleep(1)
                up.process.send_signal(signal.SIGTERM)
                with suppress(httpx.HTTPError):
                    await waiting

        began = time.monotonic()
        asyncio.run(begin())
        up.process.wait(timeout=200)
        seconds = time.monotonic() - began - 3
    return held("SIGTERM while an LM drips", f"ended after {seconds:.0f} s", seconds <= MOST_SIGTERM_SECONDS)


def stalled(name: str, attack: Attack) -> bool:
    """Attack, and measure what a bystander waits."""
    settings: dict[str, str] = {}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if name.startswith("MLflow"):
            settings["PERSONAAGENT_TRACKING_URI"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if name.startswith("Chroma"):
            settings["PERSONAAGENT_CHROMA"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with attacked(**settings) as up:

            async def both() -> tuple[list[float], int, str | None]:
                async with watched(up) as (seconds, errors):
                    said = await attack(up)
                return sorted(seconds), len(errors), said

            seconds, errors, said = asyncio.run(both())
    p99 = seconds[ceil(0.99 * len(seconds)) - 1]
    times = f"p50 {seconds[len(seconds) // 2]:.2f}, p99 {p99:.2f}, longest {seconds[-1]:.2f} s"
    detail = f"bystander {times}, {errors} errors" + (f"; {said}" if said else "")
    return held(name, detail, p99 <= MOST_BYSTANDER_SECONDS and not errors)


def grown() -> Iterator[bool]:
    """Look at the server's memory before and after what is large."""
    for name, attack in LARGE.items():
        with attacked() as up:

            async def warm_and_attack(up: Up = up, attack: Attack = attack) -> tuple[float, str | None]:
                async with up.client("bystander") as client:
                    await client.post("/v1/chat/completions", json=asked("a film"))
                before = up.mib
                said = await attack(up)
                return before, said

            before, said = asyncio.run(warm_and_attack())
            after = up.mib
        detail = f"{before:.0f} MiB before, {after:.0f} after" + (f"; {said}" if said else "")
        yield held(name, detail, after - before <= MOST_MIB)


async def abandoned_streams(up: Up) -> str:
    async def leave(client: httpx.AsyncClient, number: int) -> None:
        body = {**asked(f"{SLOW} {number}"), "stream": True}
        with suppress(httpx.HTTPError):
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for _ in response.aiter_bytes():
                    break

    async with up.client("mallory", timeout=0.3) as client:
        await asyncio.gather(*(leave(client, number) for number in range(300)))
    await asyncio.sleep(8)
    return f"{sum(SLOW in one.text for one in up.lm.asked)} calls to the LM for 300 streams that nobody reads"


async def dripping_answers(up: Up) -> None:
    async with up.client("mallory", timeout=8) as client:
        await asyncio.gather(
            *(client.post("/v1/chat/completions", json=asked(f"{DRIPPING} {number}")) for number in range(20)),
            return_exceptions=True,
        )


async def waiting_erasures(up: Up) -> str:
    async def go(number: int) -> float:
        async with up.client(f"leaver {number}", timeout=60) as client:
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=asked(DRIPPING)))
            await asyncio.sleep(0.5)
            began = time.monotonic()
            erased = await client.delete("/v1/me")
            asking.cancel()
            assert erased.status_code == 200, erased.text
            return time.monotonic() - began

    took = await asyncio.gather(*(go(number) for number in range(6)))
    return f"six erasures took {min(took):.1f} to {max(took):.1f} s"


async def alignments_with_mlflow_hanging(up: Up) -> None:
    async def learn(user: str) -> None:
        async with up.client(user) as client:
            for number in range(3):
                told = {"query": f"film {number}?", "ground_truth": f"noir {number}"}
                await client.post("/v1/interactions", json=told)
            await client.post("/v1/alignments", json={})

    await asyncio.gather(*(learn(f"leaver {number}") for number in range(6)))
    await asyncio.sleep(SECONDS)


async def nothing_more(up: Up) -> None:
    await asyncio.sleep(SECONDS)


async def locked_store(up: Up) -> None:
    await asyncio.sleep(2)
    with sqlite3.connect(up.folder / "home" / "store.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(5)
        other.execute("ROLLBACK")
    await asyncio.sleep(SECONDS - 7)


async def endless_head(up: Up) -> str:
    host, port = up.url.removeprefix("http://").split(":")
    sent = 0
    _, writer = await asyncio.open_connection(host, int(port))
    with suppress(OSError):
        writer.write(b"GET /v1/me HTTP/1.1\r\nX: ")
        for _ in range(200):
            writer.write(b"a" * 2**20)
            await asyncio.wait_for(writer.drain(), 20)
            sent += 1
    writer.close()
    await asyncio.sleep(3)
    return f"{sent} MiB of a head were taken"


async def idle_connections(up: Up) -> None:
    host, port = up.url.removeprefix("http://").split(":")
    writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(1_100)]
    await asyncio.sleep(5)
    for writer in writers:
        writer.close()


async def big_reads(up: Up) -> str:
    async with up.client("mallory") as client:
        statuses = [(await client.post("/v1/interactions", json=big(number))).status_code for number in range(60)]
        read = await asyncio.gather(*(client.get("/v1/me") for _ in range(12)))
        pages = await asyncio.gather(*(client.get("/v1/memory", params={"limit": 200}) for _ in range(12)))
    largest = max(len(page.content) for page in pages) / 2**20
    return f"{statuses.count(201)} of 60 large ones stored, {len(read)} reads, 12 pages of at most {largest:.1f} MiB"


async def exports(up: Up) -> str:
    async with up.client("mallory") as client:
        for number in range(60):
            await client.post("/v1/interactions", json=big(number))

        async def export() -> int:
            async with client.stream("GET", "/v1/export") as response:
                return sum([len(chunk) async for chunk in response.aiter_bytes()])

        sizes = await asyncio.gather(*(export() for _ in range(6)))
    return f"six exports of {sizes[0] / 2**20:.0f} MiB"


STALLS: dict[str, Attack] = {
    "300 abandoned streams of one user": abandoned_streams,
    "20 answers of an LM that drips": dripping_answers,
    "six erasures that wait for answers": waiting_erasures,
    "MLflow hangs, six users are aligned": alignments_with_mlflow_hanging,
    "Chroma hangs": nothing_more,
    "another process locks SQLite for 5 s": locked_store,
    "an endless head": endless_head,
    "1,100 idle connections": idle_connections,
}
LARGE: dict[str, Attack] = {
    "an endless head": endless_head,
    "60 MB, 12 reads at once": big_reads,
    "60 MB, six exports at once": exports,
}


@asynccontextmanager
async def watched(up: Up) -> AsyncIterator[tuple[list[float], list[str]]]:
    """Let the bystander ask while the block runs, and for as long as it has to; yield what the answers take."""
    seconds, errors = list[float](), list[str]()

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        began = time.monotonic()
        try:
            answer = await client.post("/v1/chat/completions", json=asked(f"a film for evening {number}"))
            answer.raise_for_status()
        except httpx.HTTPError as error:
            errors.append(str(error))
        seconds.append(time.monotonic() - began)

    async def keep_asking() -> None:
        async with up.client("bystander") as client, asyncio.TaskGroup() as asking:
            for number in range(int(SECONDS * A_SECOND)):
                asking.create_task(ask(client, number))
                await asyncio.sleep(1 / A_SECOND)

    async with up.client("bystander") as client:
        await ask(client, -1)
    seconds.clear()
    watching = asyncio.create_task(keep_asking())
    await asyncio.sleep(1)
    try:
        yield seconds, errors
    finally:
        await watching


@contextmanager
def attacked(*options: str, **settings: str) -> Generator[Up]:
    """Run a server and its LM while the block runs."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        loopback(_replied) as lm,
    ):
        folder, port = Path(name), free_port()
        with Home(Settings(home=folder / "home", embedder="minilm")) as home:
            users = ("bystander", "mallory", *(f"leaver {number}" for number in range(6)))
            keys = {user: home.store.keys.create("user", user_id=user)[1] for user in users}
        command = [sys.executable, "-m", "personaagent", "--home", str(folder / "home"), "serve", "--port", str(port)]
        command += ["--lm", "openai/made-up", "--api-base", lm.url, *(options or ("--align-every", "0"))]
        with served(command, f"http://127.0.0.1:{port}", "/healthz", folder, settings) as server:
            yield Up(server.url, psutil.Process(server.process.pid), folder, lm, keys)


def _replied(request: Asked) -> Reply:
    if DRIPPING in request.text:
        return Reply(drips_after=200)
    return Reply(seconds=3.0 if SLOW in request.text else 0.05)


def asked(query: str) -> dict[str, Any]:
    return {"model": "personaagent", "messages": [{"role": "user", "content": query}]}


def big(number: int) -> dict[str, Any]:
    return {"query": f"film {number}", "ground_truth": "noir", "metadata": {"text": "x" * 1_000_000}}


def held(what: str, detail: str, is_so: bool) -> bool:
    print(f"{'held  ' if is_so else 'FAILED'} {what}: {detail}", flush=True)
    return is_so


if __name__ == "__main__":
    sys.exit(main())
