"""Tools and embedders of one's own, in Python and on the command line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import dspy
import httpx
import numpy as np
import pytest

from personaagent.cli.context import warn_of_unused
from personaagent.data.errors import InputError
from personaagent.data.interaction import Interaction
from personaagent.home import Home
from personaagent.lms import open_lm
from personaagent.serving.app import create_app
from personaagent.serving.configuration import Serving
from personaagent.serving.deployment import deployed
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder, ScriptedLM

from ..lms.test_native_tools import wanting
from ..loopback import Loopback, loopback
from ..serving.conftest import listening
from .command_line import CommandLine, done

TOOL = '''
def opening_hours(place: str) -> str:
    """Look up when a made-up place is open."""
    if place == "nowhere":
        raise KeyError(place)
    return f"{place} is open from 9"
'''
ASKED = [Interaction(interaction_id="1", query="A walk?", ground_truth="Only in the sun")]


@pytest.fixture
def tools_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made_up_tools.py").write_text(TOOL)
    return "made_up_tools"


@pytest.fixture
def wants_hours() -> Iterator[Loopback]:
    with loopback(wanting(("opening_hours", {"place": "the museum"}))) as up:
        yield up


def test_a_tool_is_offered_by_ask_used_and_recorded(tools_module: str, tmp_path: Path, wants_hours: Loopback) -> None:
    personaagent = CommandLine(tmp_path / "home", wants_hours)
    (tmp_path / "maya.jsonl").write_text('{"query": "A walk?", "ground_truth": "Yes", "at": "2024-01-01"}')
    done(personaagent("ingest", tmp_path / "maya.jsonl", "--user", "maya"))
    asked = ("ask", "--user", "maya", "When?", "--json", "--run", "hours", *personaagent.lm)
    answer = done(personaagent(*asked, "--tool", f"{tools_module}:opening_hours")).json
    [action] = answer["trajectory"]
    assert (action["tool"], action["observation"]) == ("opening_hours", "| the museum is open from 9")
    assert "maya" not in str(action)
    with Home(Settings(home=tmp_path / "home"), HashEmbedder()) as home:
        assert [call.role for call in home.store.journal.calls("hours")] == ["agent", "tool", "agent"]


def test_a_tool_that_is_none_is_one_line_before_anything_is_asked(tools_module: str, personaagent: CommandLine) -> None:
    for command in (["ask", "--user", "maya", "When?", *personaagent.lm], ["serve"]):
        refused = personaagent(*command, "--tool", f"{tools_module}:closing_hours")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "module 'made_up_tools' has no 'closing_hours'; it has opening_hours" in refused.err


def test_a_tool_of_a_home_is_used_by_its_agents_and_its_server(tmp_path: Path, wants_hours: Loopback) -> None:
    def opening_hours(place: str) -> str:
        """Look up when a made-up place is open."""
        raise ConnectionError(place)

    settings = Settings(home=tmp_path, lm="openai/made-up", api_base=wants_hours.url)
    with Home(settings, HashEmbedder(), tools=[opening_hours]) as home:
        maya = home.store.add_user("maya")
        maya.interactions.add(ASKED)
        with home.run():
            [action] = home.agent(maya)(query="When?").trajectory
        assert (action.failed, action.observation) == (True, "opening_hours failed: it raised ConnectionError")
        _, token = home.store.keys.create("user", user_id="maya")
        app = create_app(lambda: deployed(home, Serving()))
        headers = {"Authorization": f"Bearer {token}"}
        wants_hours.asked.clear()
        with listening(app) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            body = {"model": "personaagent", "messages": [{"role": "user", "content": "When?"}]}
            assert client.post("/v1/chat/completions", json=body).status_code == 200
    offered = [tool["function"]["name"] for tool in wants_hours.received[0]["tools"]]
    assert offered == ["search_memory", "look_up_profile", "opening_hours"]


def lengths(texts: list[str]) -> list[list[float]]:
    return [[len(text), 1.0] for text in texts]


def test_a_function_in_dspys_embedder_is_the_embedder_of_a_home(tmp_path: Path) -> None:
    with Home(Settings(home=tmp_path), dspy.Embedder(lengths)) as home:
        maya = home.store.add_user("maya")
        queries = ["tea", "a very long question about trains"]
        maya.interactions.add([Interaction(interaction_id=query, query=query, ground_truth="yes") for query in queries])
        [nearest] = maya.memory.recall("what a very long question again", 1)
        assert nearest.interaction.query == queries[1]
    with Home(Settings(home=tmp_path), dspy.Embedder(lambda texts: np.eye(3)[[0] * len(texts)])) as home:
        assert len(home.store.user("maya").memory.recall("tea", 2)) == 2  # Vectors of another length are made anew.


@pytest.mark.parametrize(
    "embed",
    [lambda texts: [1.0] * len(texts), lambda _: [[1.0, 2.0]] * 9, lambda texts: [[float("nan")]] * len(texts)],
    ids=["numbers", "too many", "not a number"],
)
def test_an_embedder_that_makes_no_vectors_is_refused_when_the_home_is_opened(tmp_path: Path, embed: object) -> None:
    problem = r"embedder \S*<lambda> made numbers of shape .* a vector of finite numbers"
    with pytest.raises(InputError, match=problem):
        Home(Settings(home=tmp_path), dspy.Embedder(embed))  # type: ignore[arg-type]


def test_what_is_no_embedder_is_refused_when_the_home_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is none: give a dspy\.Embedder"):
        Home(Settings(home=tmp_path), lengths)  # type: ignore[arg-type]


def test_a_hosted_embedder_is_named_on_the_command_line(
    personaagent: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", personaagent.server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-key")
    personaagent.server.asked.clear()
    (tmp_path / "maya.jsonl").write_text('{"query": "A walk?", "ground_truth": "Yes", "at": "2024-01-01"}')
    hosted = ("--embedder", "openai/made-up-embedding")
    done(personaagent(*hosted, "ingest", tmp_path / "maya.jsonl", "--user", "maya"))
    found = done(personaagent(*hosted, "memory", "search", "--user", "maya", "walk"))
    assert "A walk?" in found.out
    assert {request.path.rpartition("/")[2] for request in personaagent.server.asked} == {"embeddings"}
    refused = personaagent("--embedder", "word2vec", "memory", "search", "--user", "maya", "walk")
    assert (refused.code, "unknown embedder 'word2vec'" in refused.err) == (2, True)


MCP_SERVER = '''
from mcp.server import MCPServer

server = MCPServer("made up")


@server.tool()
def opening_hours(place: str) -> str:
    """Look up when a made-up place is open."""
    return f"{place} is open from 9"


server.run()
'''


@pytest.mark.slow
def test_the_tools_of_an_mcp_server_are_used_by_ask(tmp_path: Path, wants_hours: Loopback) -> None:
    (tmp_path / "server.py").write_text(MCP_SERVER)
    (tmp_path / "maya.jsonl").write_text('{"query": "A walk?", "ground_truth": "Yes", "at": "2024-01-01"}')
    personaagent = CommandLine(tmp_path / "home", wants_hours)
    done(personaagent("ingest", tmp_path / "maya.jsonl", "--user", "maya"))
    asked = ("ask", "--user", "maya", "When?", "--json", *personaagent.lm)
    answer = done(personaagent(*asked, "--mcp", f"{sys.executable} {tmp_path / 'server.py'}")).json
    [action] = answer["trajectory"]
    assert (action["tool"], action["observation"]) == ("opening_hours", "| the museum is open from 9")


@pytest.mark.parametrize(
    ("server", "problem"),
    [("made-up-command", "FileNotFoundError"), ("http://127.0.0.1:9/mcp", "ConnectError"), ("", "has no name")],
)
def test_an_mcp_server_that_is_not_there_is_one_line(personaagent: CommandLine, server: str, problem: str) -> None:
    refused = personaagent("ask", "--user", "maya", "When?", "--mcp", server)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert problem in refused.err


def test_an_lm_that_can_call_no_functions_is_named_where_there_are_tools(capsys: pytest.CaptureFixture[str]) -> None:
    able, unable = open_lm("openai/made-up", api_base="http://127.0.0.1:9/v1"), ScriptedLM({})
    for lm in (able, unable):
        warn_of_unused((dspy.Tool(lengths),), lm)
        warn_of_unused((), lm)
    assert capsys.readouterr().err.count("cannot call functions, so it uses no tools") == 1
