"""A real HTTP server on the loopback interface that speaks as OpenAI's does, without a model.

Its answers have the form that the request's JSON schema wants and the same words every time, so a command or a notebook
runs end to end as it would with any server. Its vectors are `HashEmbedder`'s.
"""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from personaagent.testing import HashEmbedder

Json = dict[str, Any]


@dataclass
class Loopback:
    """A server that is up."""

    url: str = ""
    """Its API base."""
    chats: list[Json] = field(default_factory=list[Json])
    """Bodies of the chat requests, in the order in which they came."""
    embeddings: list[Json] = field(default_factory=list[Json])
    """Bodies of the embedding requests."""


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
            return example_of(known[reference.rpartition("/")[2]], name, known)
        case {"const": constant}:
            return constant
        case {"enum": [first, *_]}:
            return first
        case {"anyOf": [first, *_]}:
            return example_of(first, name, known)
        case {"type": "object"}:
            return {field: example_of(inner, field, known) for field, inner in schema.get("properties", {}).items()}
        case {"type": "array"}:
            return [example_of(schema["items"], name, known)] * max(1, schema.get("minItems", 1))
        case {"type": "boolean"}:
            return True
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 1)
        case {"type": "string"}:
            return f"made-up {name}"
    raise ValueError(f"no example of this schema: {schema}")


def _chat_answer(body: Json) -> Json:
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


def _embedding_answer(body: Json) -> Json:
    vectors = HashEmbedder().embed(body["input"]).tolist()
    return {
        "object": "list",
        "model": body["model"],
        "data": [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def _handler(up: Loopback) -> type[BaseHTTPRequestHandler]:
    answers = {
        "/v1/chat/completions": (up.chats, _chat_answer),
        "/v1/embeddings": (up.embeddings, _embedding_answer),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received, answer = answers[self.path]
            received.append(body)
            text = json.dumps(answer(body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    return Handler
