"""A real HTTP server on the loopback interface that speaks as OpenAI's does, without a model.

Its answers have the form that the request's JSON schema wants and the same words every time, so a command or a notebook
runs end to end as it would with any server.
"""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass
class Loopback:
    """A server that is up."""

    url: str = ""
    """Its API base."""
    received: list[Json] = field(default_factory=list[Json])
    """Bodies of the requests, in the order in which they came."""


@contextmanager
def loopback() -> Generator[Loopback]:
    """Serve while the block runs."""
    up = Loopback()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(up))
    up.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield up
    finally:
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


def _answer(body: Json) -> Json:
    schema = body["response_format"]["json_schema"]["schema"]
    message = {"role": "assistant", "content": json.dumps(example_of(schema))}
    return {
        "id": "made-up",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def _handler(up: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            up.received.append(body)
            is_chat = self.path == "/v1/chat/completions"
            text = json.dumps(_answer(body) if is_chat else {"error": f"no {self.path} here"}).encode()
            self.send_response(200 if is_chat else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    return Handler
