"""Every way of asking records its calls with the user, so that an erasure finds them all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import httpx
import pytest

from personaagent import lms
from personaagent.data.store import User
from personaagent.erasure import erase
from personaagent.home import Home
from personaagent.journal import REVISION
from personaagent.optimizers import EvidenceMode, PersonaAlignment, examples
from personaagent.optimizers.proposers import ProposeRules
from personaagent.personas import align_all, program
from personaagent.programs import AgentSettings, PersonaAgent
from personaagent.programs.recall import RecallMemory
from personaagent.serving.app import create_app
from personaagent.serving.configuration import Serving
from personaagent.serving.deployment import deployed
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from ..application.command_line import CommandLine, done
from ..loopback import Asked, Loopback, Reply, example_of, loopback
from ..serving.conftest import listening
from .made_up import ERASED, WORD, interactions
from .test_erasure import found_in

_DSPY: Any = dspy
QUESTION = f"made-up question {WORD}"
PAPER = AgentSettings(preset="paper", action=False)


@pytest.fixture
def lm_server() -> Iterator[Loopback]:
    def saying_the_word(request: Asked) -> Reply:
        schema = (request.body.get("response_format") or {}).get("json_schema", {}).get("schema")
        return (
            Reply() if schema and "response" not in example_of(schema) else Reply(f'{{"response": "made-up {WORD}"}}')
        )

    with loopback(saying_the_word) as up:
        yield up


@pytest.fixture
def opened(tmp_path: Path, lm_server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Home]:
    monkeypatch.setattr(lms, "open_embedder", lambda _: HashEmbedder())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    return lambda: Home(Settings(home=tmp_path, lm="openai/made-up", api_base=lm_server.url))


def ask(home: Home, user: User) -> None:
    home.agent(user)(query=QUESTION)


async def ask_awaited(home: Home, user: User) -> None:
    await home.agent(user).acall(query=QUESTION)


def ask_in_threads(home: Home, user: User) -> None:
    agent, example = home.agent(user), dspy.Example(query=QUESTION).with_inputs("query")
    _DSPY.Parallel(num_threads=2, disable_progress_bar=True)([(agent, example)] * 2)


def evaluate(home: Home, user: User) -> None:
    devset = examples(user.interactions.all())[:2]
    _DSPY.Evaluate(devset=devset, metric=lambda *_: 1.0, num_threads=2)(home.agent(user))


def ask_a_copy(home: Home, user: User) -> None:
    home.agent(user).deepcopy().as_of(user.interactions.all()[-1])(query=QUESTION)


def ask_as_in_the_paper(home: Home, user: User) -> None:
    live = home.agent(user).persona_version
    assert live is not None
    program(user, user.personas.get(live), settings=PAPER)(query=QUESTION)


def ask_a_module(_: Home, user: User) -> None:
    RecallMemory(2)(query=QUESTION, memory=user.memory)


def align(home: Home, user: User) -> None:
    home.align(user, PersonaAlignment(n=2))


async def align_many(_: Home, user: User) -> None:
    await align_all([user], PersonaAlignment(mode="paper", n=2), "made-up")


def compile_a_program(home: Home, user: User) -> None:
    agent = home.agent(user)
    PersonaAlignment(mode="paper", n=2).compile(agent, trainset=examples(user.memory.history()))


def compile_by_evidence(home: Home, user: User) -> None:
    agent = home.agent(user)
    optimizer = PersonaAlignment(mode=EvidenceMode([ProposeRules(None, None)]), n=2)
    optimizer.compile(agent, trainset=examples(user.memory.history()))


WAYS = (
    ask,
    ask_awaited,
    ask_in_threads,
    evaluate,
    ask_a_copy,
    ask_as_in_the_paper,
    ask_a_module,
    align,
    align_many,
    compile_a_program,
    compile_by_evidence,
)


@contextmanager
def without_words(home: Home) -> Iterator[User]:
    """Give a user with a history, and see afterwards that no file tells of the user once that is erased."""
    user = home.store.add_user(ERASED)
    user.interactions.add(interactions(WORD))
    yield user
    home.store.database.compact()
    assert any(found_in(home.folder).values())
    calls = [call for run in home.store.journal.runs() for call in home.store.journal.calls(run.run_id)]
    assert calls
    assert {call.user_key for call in calls} == {user.key}
    erase(home, ERASED)
    left = {name: count for name, count in found_in(home.folder).items() if count}
    assert left == {}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_what_is_asked_in_python_is_recorded_with_the_user(
    opened: Callable[[], Home], way: Callable[[Home, User], Any]
) -> None:
    with opened() as home, without_words(home) as user, home.run():
        waiting = way(home, user)
        if hasattr(waiting, "__await__"):
            await waiting


def test_a_run_that_is_for_one_user_records_every_call_with_the_user(opened: Callable[[], Home]) -> None:
    with opened() as home, without_words(home) as user, home.run(user=user) as run:
        run.lm(REVISION)(f"What would another optimizer ask of {WORD}?")


def test_what_is_asked_of_the_server_is_recorded_with_the_user(opened: Callable[[], Home]) -> None:
    with opened() as home, without_words(home):
        _, token = home.store.keys.create("user", user_id=ERASED)
        headers = {"Authorization": f"Bearer {token}"}
        app = create_app(lambda: deployed(home, Serving(agent=PAPER, align_every=1)))
        with listening(app) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            for stream in (False, True):
                body = {"model": "personaagent", "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
                assert client.post("/v1/chat/completions", json=body).status_code == 200
            told = {"query": QUESTION, "ground_truth": f"made-up truth {WORD}"}
            assert client.post("/v1/interactions", json=told).status_code == 201
            assert client.post("/v1/alignments", json={"n": 2}).status_code == 202


@pytest.mark.slow
def test_what_is_asked_on_the_command_line_is_recorded_with_the_user(
    opened: Callable[[], Home], tmp_path: Path, lm_server: Loopback
) -> None:
    command_line = CommandLine(tmp_path, lm_server)
    with opened() as home:
        home.store.add_user(ERASED).interactions.add(interactions(WORD))
    done(command_line("ask", "--user", ERASED, QUESTION, *command_line.lm))
    done(command_line("align", "--user", ERASED, "--n", "2", *command_line.lm))
    with opened() as home, without_words(home):
        pass


def test_a_program_of_one_user_within_the_work_for_another_is_recorded_with_its_own(
    opened: Callable[[], Home],
) -> None:
    with opened() as home, without_words(home) as user, home.run(user=home.store.add_user("omar")):
        agent: PersonaAgent = home.agent(user)
        agent(query=QUESTION)
