"""Traces of answers tell what was called, and nothing of what was said or of who said it."""

from pathlib import Path

import httpx
import pytest
from dspy.lm15 import RateLimitError
from mlflow.entities import Trace

from personaagent.data.store import user_key
from personaagent.programs import AgentSettings
from personaagent.serving.configuration import Serving
from personaagent.serving.observing import AnswerTracker
from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, QUICK, Server, serving

pytestmark = pytest.mark.slow

CANARY = "heliotrope"
WITH_TOOLS = Serving(align_every=0, agent=AgentSettings(preset="paper", max_steps=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def tracker_in(folder: Path, share: float = 1.0) -> AnswerTracker:
    return AnswerTracker(f"sqlite:///{folder / 'mlflow.db'}", folder.as_uri(), share=share)


def ask(server: Server) -> httpx.Response:
    body = {"model": "personaagent", "messages": [{"role": "user", "content": f"A film with {CANARY}?"}]}
    return server.client.post("/v1/chat/completions", json=body, headers=server.key_of(f"maya {CANARY}"))


def traces(tracker: AnswerTracker) -> list[Trace]:
    client = tracker.client()
    return client.search_traces(locations=[tracker.experiment_id(client)])


def test_a_trace_has_the_calls_of_an_answer_and_its_interaction(folder: Path) -> None:
    tracker = tracker_in(folder)
    with serving(ScriptedLM({**ANSWERS, "response": CANARY}), WITH_TOOLS, tracker) as server:
        interaction_id = ask(server).json()["personaagent"]["interaction_id"]
    [trace] = traces(tracker)
    names = {span.span_id: span.name for span in trace.data.spans}
    [answer, agent, *parts] = [(span.name, names.get(span.parent_id or "")) for span in trace.data.spans]
    assert (answer, agent) == (("answer", None), ("PersonaAgent", "answer"))
    assert [name for name, of in parts if of == "PersonaAgent"] == ["RecallMemory", "ToolUse", "Respond"]
    assert [name for name, of in parts if of == "Predict"] == ["scripted/lm"] * 3
    assert ("look_up_profile", "ToolUse") in parts
    assert trace.data.spans[0].attributes["interaction_id"] == interaction_id


def test_no_word_of_the_user_is_in_any_file_of_mlflow(folder: Path) -> None:
    tracker = tracker_in(folder)
    failing = ScriptedLM([RateLimitError(f"too much {CANARY}")] * 9)
    with serving(ScriptedLM({**ANSWERS, "response": CANARY}), WITH_TOOLS, tracker) as server:
        assert ask(server).is_success
    with serving(failing, QUICK, tracker) as server:
        assert ask(server).status_code == 502
    assert "ERROR" in {span.status.status_code.value for trace in traces(tracker) for span in trace.data.spans}
    written = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"PersonaAgent" in written
    for word in (CANARY, user_key(f"maya {CANARY}")):
        assert word.encode() not in written


def test_nothing_is_traced_unless_it_is_asked_for(folder: Path) -> None:
    before = len(traces(tracker_in(folder)))
    with serving(ScriptedLM(ANSWERS), QUICK, tracker_in(folder, share=0.0)) as server:
        assert ask(server).is_success
    assert len(traces(tracker_in(folder))) == before


def test_answers_go_on_where_mlflow_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with serving(ScriptedLM(ANSWERS), QUICK, AnswerTracker("http://127.0.0.1:9", share=1.0)) as server:
        assert ask(server).is_success
    assert "answers are not traced until the server is started again" in caplog.text
