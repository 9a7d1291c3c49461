"""Connections are bounded before anyone says who asks: heads in size and time, bodies in time, idle ones in number."""

import socket
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from personaagent.serving import connections
from personaagent.serving.connections import HEAD_BYTES
from personaagent.testing import ScriptedLM, ScriptedRequest

from .conftest import ANSWERS, ASKED, Server, listening, serving

PATIENCE = 30.0
ENDLESS = 64 * 2**20
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def connected(server: Server) -> Generator[socket.socket]:
    url = server.client.base_url
    with socket.create_connection((url.host, url.port or 80), PATIENCE) as raw:
        yield raw


def until_closed(raw: socket.socket) -> bytes:
    """Return what the server says until it closes the connection."""
    said = b""
    with suppress(ConnectionResetError):
        while part := raw.recv(65_536):
            said += part
    return said


@pytest.mark.parametrize("begun", [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Endless: ", b"GET /", b"POST /v1/said?q="])
def test_an_endless_head_is_cut_off_and_others_are_answered_meanwhile(server: Server, begun: bytes) -> None:
    sent, piece = 0, b"a" * 65_536
    with connected(server) as raw:
        raw.sendall(begun)
        with suppress(ConnectionError):
            while sent < ENDLESS:
                raw.sendall(piece)
                sent += len(piece)
                assert server.client.get("/healthz").status_code == 200
    assert sent < 16 * 2**20, "what the operating system holds"


def test_many_short_headers_are_a_head_that_is_too_long(server: Server) -> None:
    headers = b"".join(b"X-%d: a\r\n" % number for number in range(HEAD_BYTES // 8))
    with connected(server) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + headers)
        assert until_closed(raw).startswith(b"HTTP/1.1 400")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT", GET + b"GET /healthz HTTP/1.1\r\nHost:"])
def test_a_head_that_does_not_come_closes_the_connection(server: Server, begun: bytes) -> None:
    with connected(server) as raw:
        raw.sendall(begun)
        answered = until_closed(raw)
    assert answered.count(b"200 OK") == begun.count(GET)


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_was_answered_is_kept_for_the_next_request(server: Server) -> None:
    with connected(server) as kept:
        kept.sendall(GET)
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        for _ in range(2):
            with connected(server) as without_request:
                until_closed(without_request)
        kept.sendall(GET)
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("impatient")
def test_a_request_that_takes_long_is_not_taken_for_an_idle_connection() -> None:
    go_on = threading.Event()

    def held(request: ScriptedRequest) -> Any:
        assert go_on.wait(PATIENCE)
        return {name: ANSWERS[name] for name in request.outputs_wanted}

    with serving(ScriptedLM(held)) as server, ThreadPoolExecutor(1) as thread:
        answering = thread.submit(server.client.post, "/v1/chat/completions", json=ASKED, headers=server.key_of("maya"))
        for _ in range(2):
            with connected(server) as raw:
                until_closed(raw)
        go_on.set()
        assert answering.result(PATIENCE).status_code == 200


def test_a_body_that_does_not_come_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_BODY_SECONDS", 0.1)
    [(_, value)] = server.key_of("maya").items()
    head = f"POST /v1/said HTTP/1.1\r\nHost: x\r\nAuthorization: {value}\r\nContent-Length: 9\r\n\r\n"
    with connected(server) as raw:
        raw.sendall(head.encode() + b"{")
        assert until_closed(raw).startswith(b"HTTP/1.1 408")


@pytest.fixture
def small() -> Iterator[httpx.Client]:
    """A server of eight connections, and a client of it."""
    app = FastAPI()

    @app.get("/")
    def answer() -> str:  # pyright: ignore[reportUnusedFunction]
        return "here"

    with listening(app, most_connections=8) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        yield client


def test_idle_connections_make_room_for_others_the_longest_idle_first(small: httpx.Client) -> None:
    with ExitStack() as opened:
        address = (small.base_url.host, small.base_url.port or 80)
        idle = [opened.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(20)]
        assert small.get("/").json() == "here"
        assert [until_closed(each) for each in idle[:12]] == [b""] * 12
        assert small.get("/").json() == "here"


def test_no_connection_is_upgraded_to_one_without_bounds(server: Server) -> None:
    upgrade = {"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert server.client.get("/healthz", headers=upgrade).status_code == 200
