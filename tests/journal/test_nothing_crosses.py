"""Answers that differ only in who gave them, on whose key and for whom never stand in for each other; keys stay out."""

import asyncio
import itertools
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dspy
import pytest

from personaagent.data.errors import InputError, LMError
from personaagent.data.store import Store
from personaagent.journal import AGENT, LOSS, OpenRun, engine, new_run, open_run
from personaagent.lms import open_lm
from personaagent.portable import export_run
from personaagent.programs.scope import within

from ..loopback import Answering, Asked, Loopback, Reply, loopback
from .conftest import Ask

KEYS = ("made-up-key-one", "made-up-key-two")
USERS = ("maya", "omar")

Asker = tuple[int, int, str]
"""Numbers of the server that is asked and of the key, and who asks."""


def key_of(request: Asked) -> int:
    return KEYS.index(request.headers["authorization"].removeprefix("Bearer "))


def telling(server: int) -> Answering:
    """Answer with the numbers of the server, of the key and of the answer: no two answers are the same."""
    number = itertools.count()

    def answer(request: Asked) -> Reply:
        return Reply(content=json.dumps({"response": f"{server} {key_of(request)} answer {next(number)}"}))

    return answer


@contextmanager
def two_servers() -> Generator[Sequence[Loopback]]:
    with loopback(telling(0)) as one, loopback(telling(1)) as other:
        yield one, other


def no_answer_crosses(answers: Mapping[Asker, str]) -> None:
    assert len(answers) == len({*answers.values()}) == 8
    for (server, key, _), answer in answers.items():
        assert answer.startswith(f"{server} {key} answer ")


async def asked_at_once(store: Store, servers: Sequence[Loopback], users: Sequence[str] = USERS) -> dict[Asker, str]:
    """Ask one question of one model, in one run and one role, on both servers, with both keys, for both users."""

    async def ask(run: OpenRun, user: str) -> str:
        with within(user_key=user), dspy.context(lm=run.lm(AGENT)):
            return (await Ask().acall(query="rain")).response

    with ExitStack() as runs:
        asking = {
            (server, key, user): ask(run, user)
            for server, up in enumerate(servers)
            for key in range(2)
            for run in [runs.enter_context(opened(store, up.url, KEYS[key]))]
            for user in users
        }
        return dict(zip(asking, await asyncio.gather(*asking.values()), strict=True))


@contextmanager
def opened(store: Store, url: str, key: str) -> Generator[OpenRun]:
    lm = dspy.LM("openai/made-up", api_base=url, api_key=key, cache=False)
    with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}) as run:
        yield run


async def test_servers_keys_and_users_of_one_run_share_no_answer(store: Store) -> None:
    with two_servers() as servers:
        first = await asked_at_once(store, servers)
        no_answer_crosses(first)
        assert [len(server.asked) for server in servers] == [4, 4]
        assert await asked_at_once(store, servers, USERS[::-1]) == first
        assert [len(server.asked) for server in servers] == [4, 4]


def asked_in_turn(
    store: Store, servers: Sequence[Loopback], monkeypatch: pytest.MonkeyPatch, users: Sequence[str] = USERS
) -> dict[Asker, str]:
    """Ask one question of both servers, each in its role; the key in the environment changes between two openings."""
    answers: dict[Asker, str] = {}
    for key, value in enumerate(KEYS):
        monkeypatch.setenv("OPENAI_API_KEY", value)
        lms = {
            role: open_lm("openai/made-up", api_base=up.url) for role, up in zip((AGENT, LOSS), servers, strict=True)
        }
        with open_run(store.journal, new_run("test", run_id="r"), lms) as run:
            for (server, role), user in itertools.product(enumerate(lms), users):
                with within(user_key=user), dspy.context(lm=run.lm(role)):
                    answers[server, key, user] = Ask()(query="rain").response
    return answers


def test_a_key_that_changes_between_two_openings_gets_answers_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_servers() as servers:
        first = asked_in_turn(store, servers, monkeypatch)
        no_answer_crosses(first)
        assert [len(server.asked) for server in servers] == [4, 4]
        assert asked_in_turn(store, servers, monkeypatch, USERS[::-1]) == first
        assert [len(server.asked) for server in servers] == [4, 4]


def test_an_lm_is_asked_on_the_key_that_it_had_when_its_run_was_opened(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback() as server:
        lm = open_lm("openai/made-up", api_base=server.url)
        for opened_with, asked_with in ((0, 0), (1, 1), (0, 1)):
            monkeypatch.setenv("OPENAI_API_KEY", KEYS[opened_with])
            with open_run(store.journal, new_run("test", run_id="r"), {AGENT: lm}):
                monkeypatch.setenv("OPENAI_API_KEY", KEYS[asked_with])
                Ask()(query="rain")
                Ask()(query="snow")
        assert [key_of(request) for request in server.asked] == [0, 0, 1, 1]


def says_the_key_back(request: Asked) -> Reply:
    """Refuse as some services do: with the key in the message."""
    error = {"message": f"not with {request.headers['authorization']}", "type": "made_up"}
    return Reply(status=500 if "snow" in request.text else 401, body=json.dumps({"error": error}).encode())


def test_keys_are_in_no_file_and_no_message(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "LONGEST_WAIT_SECONDS", 0.005)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[0])
    messages: list[str] = []
    with loopback() as server:
        by_variable = open_lm("openai/made-up", api_base=server.url)
        by_argument = dspy.LM("openai/made-up", api_base=server.url, api_key=KEYS[1], cache=False)
        for number, lm in enumerate((by_variable, by_argument)):
            with open_run(store.journal, new_run("test", run_id=f"r{number}"), {AGENT: lm}) as run:
                server.answering = lambda _: Reply(content='{"response": "yes"}')
                assert Ask()(query="hail").response == "yes"
                server.answering = says_the_key_back
                for query in ("rain", "snow"):
                    with pytest.raises(LMError, match=r"not with Bearer \(key\)") as ours:
                        Ask()(query=query)
                    with pytest.raises(dspy.LMError) as theirs:
                        run.lm(AGENT)(query)
                    messages += [str(ours.value), str(theirs.value), repr(theirs.value)]
            export_run(store.journal, run.run_id, tmp_path / f"{run.run_id}.jsonl")
    assert [key_of(request) for request in server.asked] == [0] * 11 + [1] * 11
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"store.db", "store.db-wal", "r0.jsonl", "r1.jsonl"} <= {*written}
    for said in (*written.values(), *(message.encode() for message in messages), caplog.text.encode()):
        assert b"made-up-key" not in said
    assert sum(said.count(b"not with Bearer (key)") for name, said in written.items() if name.endswith("jsonl")) == 20


def test_an_address_with_a_password_is_refused_before_anything_is_recorded(store: Store) -> None:
    lm = dspy.LM("openai/made-up", api_base="http://maya:made-up-password@127.0.0.1:9/v1", cache=False)
    with (
        pytest.raises(InputError, match="holds credentials") as refused,
        open_run(store.journal, new_run("test"), {AGENT: lm}),
    ):
        pass
    assert "made-up-password" not in str(refused.value)
    assert store.journal.runs() == ()
