"""A real HTTP server on the loopback interface that speaks as OpenAI's does, without a model.

Its answers have the form that the request's JSON schema wants and the same words every time, so a command or a notebook
runs end to end as it would with any server. A test that wants it to fail scripts it with `answering`.
"""

import json
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    """Names in small letters."""
    body: Json

    @property
    def text(self) -> str:
        """What the messages say."""
        return "\n".join(message["content"] for message in self.body["messages"])


@dataclass(frozen=True)
class Reply:
    """What the server does with a request; as it stands, it answers in the form of the request's JSON schema."""

    content: str | None = None
    """What the LM says, if not that."""
    message: Json | None = None
    """The message whole, in place of one that says `content`."""
    finish: str = "stop"
    """Why it ended."""
    logprobs: Json | None = None
    """The log-probabilities of its tokens, as OpenAI writes them."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    """Sent in place of an answer or an error, whatever it is."""
    seconds: float = 0.0
    """Time until the server replies."""
    streams: bool = True
    """Whether it streams where that is asked for; if not, it refuses."""
    goes_on: threading.Event | None = None
    """Of a stream: the second half comes when this is set."""
    bytes_sent: int | None = None
    """How much of the reply is sent, head included, before the server cuts the connection; None is all of it."""
    drips_after: int | None = None
    """How much of the reply is sent at once. A byte follows every 10 ms, without end."""


HANG = Reply(seconds=threading.TIMEOUT_MAX)
CUT = Reply(bytes_sent=0)

Answering = Callable[[Asked], Reply]


@dataclass
class Loopback:
    """A server that is up."""

    url: str = ""
    """Its API base."""
    asked: list[Asked] = field(default_factory=list[Asked])
    """Requests in the order in which they came."""
    answering: Answering = lambda _: Reply()
    """What it does with a request. Each request has a thread of its own."""
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when it goes down, so that nothing waits any longer."""
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed the connection on which the server still sent."""

    @property
    def received(self) -> list[Json]:
        """The bodies of the requests."""
        return [request.body for request in self.asked]


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


@contextmanager
def loopback(answering: Answering | None = None) -> Generator[Loopback]:
    """Serve while the block runs."""
    up = Loopback()
    up.answering = answering or up.answering
    server = _Server(("127.0.0.1", 0), _handler(up))
    up.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield up
    finally:
        up.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def example_of(schema: Json, name: str = "answer", definitions: Json | None = None) -> Any:
    """Return a value that satisfies a JSON schema: first choices, one-element lists, true, a text that says its name.

    Args:
        schema: The schema.
        name: What a text is called: `made-up critique`.
        definitions: What `$ref` refers to; by default the schema's own `$defs`.
    """
    known = schema.get("$defs", {}) if definitions is None else definitions
    match schema:
        case {"$ref": str(reference)}:
            value = example_of(known[reference.rpartition("/")[2]], name, known)
        case {"const": value} | {"enum": [value, *_]}:
            pass
        case {"anyOf": [first, *_]}:
            value = example_of(first, name, known)
        case {"type": "object"}:
            value = {key: example_of(inner, key, known) for key, inner in schema.get("properties", {}).items()}
        case {"type": "array"}:
            value = [example_of(schema["items"], name, known)] * max(1, schema.get("minItems", 1))
        case {"type": "boolean"}:
            value = True
        case {"type": "integer" | "number"}:
            value = schema.get("minimum", 1)
        case {"type": "string"}:
            value = f"made-up {name}"
        case _:
            raise ValueError(f"no example of this schema: {schema}")
    return value


def _completion(body: Json, reply: Reply) -> Json:
    content = reply.content
    if content is None and reply.message is None:
        content = json.dumps(example_of(body["response_format"]["json_schema"]["schema"]))
    message = reply.message or {"role": "assistant", "content": content}
    return {
        "id": "made-up",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": reply.finish, "message": message, "logprobs": reply.logprobs}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def _stream(body: Json, reply: Reply) -> Generator[bytes]:
    """Yield an answer as server-sent events, a few characters each."""
    whole = _completion(body, reply)
    [choice] = whole.pop("choices")
    shared = {**whole, "object": "chat.completion.chunk", "usage": None}
    content: str = choice["message"]["content"]
    pieces = [content[place : place + 4] for place in range(0, len(content), 4)]
    for number, piece in enumerate(pieces):
        if number == len(pieces) // 2 and reply.goes_on is not None:
            reply.goes_on.wait(10)
        yield _event({**shared, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
    yield _event({**shared, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    yield _event({**shared, "choices": [], "usage": whole["usage"]})
    yield b"data: [DONE]\n\n"


def _event(data: Json) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _embeddings(body: Json) -> Json:
    vectors = [{"object": "embedding", "index": index, "embedding": [3.0, 4.0]} for index in range(len(body["input"]))]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "model": body["model"], "data": vectors, "usage": usage}


def _said(request: Asked, reply: Reply) -> tuple[int, Json]:
    if request.body.get("stream") and not reply.streams:
        return 400, {"error": {"message": "stream is not supported", "type": "invalid_request_error"}}
    if reply.status != 200:
        return reply.status, {"error": {"message": f"status {reply.status}", "type": "made_up"}}
    if request.path == "/v1/chat/completions":
        return 200, _completion(request.body, reply)
    if request.path == "/v1/embeddings":
        return 200, _embeddings(request.body)
    return 404, {"error": f"no {request.path} here"}


def _on_the_wire(request: Asked, reply: Reply) -> bytes:
    status, said = (reply.status, {}) if reply.body is not None else _said(request, reply)
    body = json.dumps(said).encode() if reply.body is None else reply.body
    length = len(body) if reply.drips_after is None else sys.maxsize
    headers = {"Content-Type": "application/json", "Content-Length": str(length), **reply.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body


def _handler(up: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            up.asked.append(request)
            reply = up.answering(request)
            self.close_connection = reply.bytes_sent is not None or up.closing.wait(reply.seconds)
            if reply.drips_after is not None:
                self._drip(_on_the_wire(request, reply)[: reply.drips_after])
            elif request.body.get("stream") and reply.streams and (reply.status, reply.body) == (200, None):
                self._stream(_stream(request.body, reply))
            elif not up.closing.is_set():
                self.wfile.write(_on_the_wire(request, reply)[: reply.bytes_sent])

        def _stream(self, events: Iterable[bytes]) -> None:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for event in events:
                self.wfile.write(event)

        def _drip(self, begun: bytes) -> None:
            self.close_connection = True
            try:
                self.wfile.write(begun)
                while not up.closing.wait(0.01):
                    self.wfile.write(b" ")
            except OSError:
                up.hung_up.set()

    return Handler
