"""A server on a port of this machine, over a store in memory and an LM whose answers are written down."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import dspy
import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from personaagent import lms
from personaagent.data.store import Store, user_key
from personaagent.erasure import Receipt
from personaagent.home import Home
from personaagent.journal import AGENT, new_run, open_run
from personaagent.programs import AgentSettings
from personaagent.serving.app import create_app
from personaagent.serving.configuration import Serving
from personaagent.serving.connections import BOUNDS
from personaagent.serving.deployment import Deployment, deployed
from personaagent.serving.observing import AnswerTracker
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder, ScriptedLM, ScriptedRequest, in_memory_store

from .waiting import wait_until

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
ASKED = {"model": "personaagent", "messages": [{"role": "user", "content": "A film for tonight?"}]}
CHAT = "/v1/chat/completions"
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


class PausedLM:
    """An LM that answers when it may."""

    def __init__(self, response: object = ANSWERS["response"]) -> None:
        self.is_asked, self.may_answer = Event(), Event()
        self.lm = ScriptedLM({**ANSWERS, "response": self._answer})
        self._response = response

    def _answer(self, _: ScriptedRequest) -> object:
        self.is_asked.set()
        assert self.may_answer.wait(60)
        return self._response


def eraser(store: Store) -> Callable[[str], Receipt]:
    """Return what erases a user of a store that has no index and no mirror elsewhere."""

    def erase(user_id: str) -> Receipt:
        return Receipt(user_key=user_key(user_id), removed=store.people.erase(user_id), at=datetime.now(UTC))

    return erase


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

        @contextmanager
        def deploy() -> Generator[Deployment]:
            yield Deployment(store, run, how, trace=tracker.trace, erase=eraser(store))

        with listening(create_app(deploy, how.origins)) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield Server(client, store, lm)


class ServedHome(NamedTuple):
    """A home folder that is served, and what is behind it."""

    home: Home
    client: httpx.Client
    lm: ScriptedLM

    def key_of(self, user: str) -> dict[str, str]:
        """Return the headers of a user's new key."""
        return {"Authorization": f"Bearer {self.home.store.keys.create('user', user_id=user)[1]}"}

    def chat(self, key: dict[str, str]) -> httpx.Response:
        """Ask a question."""
        return self.client.post(CHAT, json=ASKED, headers=key)


@contextmanager
def serving_home(folder: Path, tracking_uri: str | None = None) -> Generator[ServedHome]:
    """Serve a home folder while the block runs."""
    lm = ScriptedLM(ANSWERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
        patch.setattr("personaagent.journal.role_lms", lambda _: {AGENT: lm})
        with (
            Home(Settings(home=folder, tracking_uri=tracking_uri)) as home,
            listening(create_app(lambda: deployed(home, QUICK))) as url,
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            yield ServedHome(home, client, lm)


@contextmanager
def listening(app: FastAPI, most_connections: int | None = None) -> Generator[str]:
    """Listen at a free port while the block runs, and yield the URL."""
    bounds: dict[str, Any] = BOUNDS if most_connections is None else BOUNDS | {"limit_concurrency": most_connections}
    how = uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1, **bounds)
    server = uvicorn.Server(how)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    assert thread.is_alive(), "the server did not start"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(ScriptedLM(ANSWERS)) as up:
        yield up
