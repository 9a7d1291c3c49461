"""A real HTTP server on the loopback interface that answers like OpenAI's and keeps what it was sent."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class LoopbackLM:
    """What it answers is set by the test: a JSON text for the content, or a status with an error body."""

    url: str = ""
    content: str = '{"response": "Paris"}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    received: list[Received] = field(default_factory=list[Received])

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.status != 200:
            return {"error": {"message": f"status {self.status}", "type": "made_up"}}
        if "input" in body:
            texts = body["input"]
            vectors = [{"object": "embedding", "index": i, "embedding": [3.0, 4.0]} for i in range(len(texts))]
            return {
                "object": "list",
                "model": body["model"],
                "data": vectors,
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        message = {"role": "assistant", "content": self.content}
        return {
            "id": "made-up",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }


def _handler(lm: LoopbackLM) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            lm.received.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            text = json.dumps(lm.answer(body)).encode()
            self.send_response(lm.status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(text)),
                **lm.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    return Handler


@pytest.fixture
def start_lm() -> Iterator[Callable[[], LoopbackLM]]:
    servers: list[ThreadingHTTPServer] = []

    def start() -> LoopbackLM:
        lm = LoopbackLM()
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lm))
        lm.url = f"http://127.0.0.1:{server.server_port}/v1"
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return lm

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def loopback(start_lm: Callable[[], LoopbackLM]) -> LoopbackLM:
    return start_lm()
