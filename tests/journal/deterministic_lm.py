"""A language model's server whose every answer is a function of the request alone, in a process that nobody kills.

It speaks as OpenAI's chat completions do. Run as a program it serves on a free port of the loopback interface, prints
the port, and ends when its standard input does.
"""

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

_WORDS = ("amber", "brisk", "cedar", "dusk", "ember", "fable", "grove", "hush", "iris", "jade", "kite", "lumen", "moss")


class Received(NamedTuple):
    """One request, as it is written to the log."""

    at: float
    body: Json

    @property
    def said(self) -> str:
        """A hash of the messages."""
        return hash_of([str(message["content"]) for message in self.body["messages"]])


@contextmanager
def deterministic_lm(latency_seconds: float, log: Path | None = None) -> Generator[str]:
    """Serve from a process of its own while the block runs.

    Args:
        latency_seconds: How long after the request the answer leaves.
        log: Where each request is appended when it comes, before it is answered.

    Yields:
        The API base.
    """
    command = [sys.executable, "-S", __file__, f"--latency-seconds={latency_seconds}"]
    with subprocess.Popen(
        [*command, f"--log={log}"] if log else command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.stdin.close()


def received(log: Path) -> list[Received]:
    """Return the requests of a log in the order in which they came."""
    return [Received(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def hash_of(texts: list[str]) -> str:
    """Return a hash by which two requests that say the same are known."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def answer_to(schema: Json, seed: str, definitions: Json | None = None) -> Any:
    """Return the value of a JSON schema that `seed` chooses.

    Args:
        schema: The schema.
        seed: What was asked, and of which part of the answer this is.
        definitions: What `$ref` refers to; by default the schema's own `$defs`.
    """
    known = schema.get("$defs", {}) if definitions is None else definitions
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    match schema:
        case {"$ref": str(reference)}:
            value = answer_to(known[reference.rpartition("/")[2]], seed, known)
        case {"const": value}:
            pass
        case {"enum": [*values]}:
            value = values[number % len(values)]
        case {"anyOf": [first, *_]}:
            value = answer_to(first, seed, known)
        case {"type": "object"}:
            properties: Json = schema.get("properties", {})
            value = {name: answer_to(inner, f"{seed}/{name}", known) for name, inner in properties.items()}
        case {"type": "array"}:
            length = max(schema.get("minItems", 1), 1 + number % 3)
            value = [answer_to(schema["items"], f"{seed}/{place}", known) for place in range(length)]
        case {"type": "boolean"}:
            value = number % 2 == 0
        case {"type": "integer" | "number"}:
            value = schema.get("minimum", 1)
        case {"type": "string"}:
            value = _words(number)
        case _:
            raise ValueError(f"no answer to this schema: {schema}")
    return value


def _words(number: int) -> str:
    """Return a few words: so many that hardly two requests in a run get the same."""
    places = [number // len(_WORDS) ** place % len(_WORDS) for place in range(4 + number % 3)]
    return " ".join(_WORDS[place] for place in places)


def _answered(body: Json) -> Json:
    messages = json.dumps(body["messages"])
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {"type": "string"})
    answer = answer_to(schema, messages)
    text = answer if isinstance(answer, str) else json.dumps(answer)
    tokens = {"prompt_tokens": len(messages) // 4, "completion_tokens": len(text) // 4 + 1}
    message = {"role": "assistant", "content": text}
    return {
        "id": "made-up",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }


class _Server:
    def __init__(self, latency_seconds: float, log: Path | None) -> None:
        self._latency_seconds = latency_seconds
        self._log = log.open("a", buffering=1) if log else None

    async def serve(self) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until its other end is gone."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").casefold()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                due = time.monotonic() + self._latency_seconds
                if self._log:
                    self._log.write(json.dumps({"at": time.time(), "body": body}) + "\n")
                text = json.dumps(_answered(body)).encode()
                await asyncio.sleep(due - time.monotonic())
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write(head.encode() + text)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    asyncio.run(_Server(arguments.latency_seconds, arguments.log).serve())


if __name__ == "__main__":
    _main()
