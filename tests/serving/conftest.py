"""A server on a port of this machine, over a store in memory and an LM whose answers are written down."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dspy
import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from personaagent.data.store import Store, user_key
from personaagent.erasure import Receipt
from personaagent.journal import AGENT, new_run, open_run
from personaagent.programs import AgentSettings
from personaagent.serving.app import create_app
from personaagent.serving.configuration import Serving
from personaagent.serving.connections import HEAD_BYTES, MOST_CONNECTIONS, BoundedProtocol
from personaagent.serving.deployment import Deployment
from personaagent.serving.tracing import AnswerTracker
from personaagent.testing import ScriptedLM, in_memory_store

ANSWERS = {
    "search": "films",
    "tool": "look_up_profile",
    "argument": "",
    "response": "Watch a quiet film.",
    "statements": ["likes films in which little happens"],
    "critique": "say more of quiet films",
    "rules": [{"when": "a film is wanted", "then": "noir", "cases": [1, 2]}],
    "profile": ["likes quiet films"],
    "preferences": [],
    "tool_use": [],
    "style": [],
}
QUICK = Serving(align_every=0, agent=AgentSettings(action=False))
UNTRACED = AnswerTracker("http://127.0.0.1:9", share=0.0)


class Server(NamedTuple):
    """A server, and what is behind it."""

    client: httpx.Client
    store: Store
    lm: Any  # Most often a ScriptedLM, of which the requests are looked at.

    def key_of(self, user: str, tenant: str = "") -> dict[str, str]:
        """Return the headers of a user's new key."""
        _, token = self.store.keys.create("user", user_id=user, tenant=tenant)
        return {"Authorization": f"Bearer {token}"}


@contextmanager
def serving(
    lm: dspy.LM, how: Serving = QUICK, tracker: AnswerTracker = UNTRACED, price: str | None = None
) -> Generator[Server]:
    """Serve while the block runs."""
    with (
        in_memory_store() as store,
        open_run(store.journal, new_run("serve"), {AGENT: lm}, price=price) as run,
        tracker.ready(),
    ):

        def erase(user_id: str) -> Receipt:
            return Receipt(user_key=user_key(user_id), removed=store.people.erase(user_id), at=datetime.now(UTC))

        @contextmanager
        def deploy() -> Generator[Deployment]:
            yield Deployment(store, run, how, trace=tracker.trace, erase=erase)

        with listening(create_app(deploy, how.origins)) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield Server(client, store, lm)


@contextmanager
def listening(app: FastAPI, most_connections: int = MOST_CONNECTIONS) -> Generator[str]:
    """Listen at a free port while the block runs, and yield the URL."""
    bounds = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=1,
        http=BoundedProtocol,
        ws="none",
        limit_concurrency=most_connections,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    server = uvicorn.Server(bounds)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(ScriptedLM(ANSWERS)) as up:
        yield up
