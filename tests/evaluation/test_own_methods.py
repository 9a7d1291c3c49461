"""Methods of one's own: a function or class that makes programs, and a saved agent."""

from pathlib import Path

import dspy
import pytest

from personaagent.data.errors import InputError
from personaagent.data.lamp import LampData
from personaagent.data.task import OPEN
from personaagent.evaluation import evaluate, methods_named
from personaagent.evaluation.record import read_evaluation
from personaagent.evaluation.run import EvaluationJob, LocalEngine, run_job
from personaagent.home import Home
from personaagent.programs import PersonaAgent
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder, ScriptedLM, in_memory_store

from ..loopback import Reply, loopback
from .conftest import TASK, InMemoryResources

CHAT = "[[ ## response ## ]]\nyes\n\n[[ ## completed ## ]]"
"""As a program of DSPy's has an LM write."""
WRITTEN = """
import dspy

class Asks(dspy.Module):
    def __init__(self, history, task):
        super().__init__()
        self.known, self.ask = len(history), dspy.Predict("known: int, query -> response")

    def forward(self, query):
        return self.ask(known=self.known, query=query)

def newest(history, task):
    class Newest(dspy.Module):
        def forward(self, query):
            return dspy.Prediction(response=history[-1].ground_truth)
    return Newest()

def makes_a_text(history, task):
    return "classic"

def of_one_argument(history):
    return None

class NoModule:
    pass

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with modules of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "made_up_methods.py").write_text(WRITTEN)
    (tmp_path / "made_up_broken.py").write_text("import made_up_missing")
    return tmp_path


async def test_a_function_in_the_working_directory_is_a_method(data: LampData) -> None:
    result = await evaluate(methods_named(["made_up_methods:newest"], TASK), data)
    assert sorted(str(row.prediction) for row in result.rows) == ["action", "classic", "classic"]
    assert result.methods["made_up_methods:newest"].scored == 3


async def test_a_class_of_modules_is_a_method_whose_calls_are_counted(data: LampData) -> None:
    with dspy.context(lm=ScriptedLM({"response": "classic"})):
        result = await evaluate(methods_named(["made_up_methods:Asks"], TASK), data)
    assert (result.methods["made_up_methods:Asks"].scored, result.methods["made_up_methods:Asks"].spend.calls) == (3, 3)


async def test_a_saved_agent_answers_every_user_as_it_stands(data: LampData, folder: Path) -> None:
    with in_memory_store() as store:
        agent = PersonaAgent(TASK, store.add_user("omar").memory)
        agent.respond.predict.signature = agent.respond.predict.signature.with_instructions("Answer shortly.")
        agent.save(folder / "tuned.json")
    lm = ScriptedLM({"response": "classic"})
    with in_memory_store() as store, dspy.context(lm=lm):
        engine = LocalEngine(lambda task: InMemoryResources(task, store))
        result = await evaluate(methods_named(["tuned.json"], TASK), data, engine=engine)
    assert result.methods["tuned.json"].scored == 3
    assert len({request.system for request in lm.requests}) == 1
    assert "Answer shortly." in lm.requests[0].system
    assert "Past film 0" in str(lm.requests[0])


async def test_what_makes_no_program_is_a_failed_row_that_says_so(data: LampData) -> None:
    result = await evaluate(methods_named(["made_up_methods:makes_a_text"], TASK), data)
    assert {row.status for row in result.rows} == {"failed"}
    assert "makes a str: it must return a dspy.Module" in str(result.rows[0].message)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("made_up_nowhere:newest", "there is no module 'made_up_nowhere' in"),
        ("made_up_broken:newest", "importing 'made_up_broken' fails: ModuleNotFoundError: .* 'made_up_missing'"),
        ("made_up_methods:newst", "has no 'newst'; it has Asks, newest"),
        ("made_up_methods:number", "is no function or class, but int"),
        ("made_up_methods:NoModule", "is no dspy.Module"),
        ("made_up_methods:of_one_argument", r"is called as made_up_methods:of_one_argument\(history, task\)"),
        ("made_up_methods:", "write it as module:name"),
        ("nowhere.json", "cannot be read: No such file"),
        ("text.json", "is not JSON"),
        ("list.json", "is no saved program, but a JSON list"),
        ("other.json", "not the saved state of a PersonaAgent.*needs a function of yours that loads it"),
    ],
)
def test_a_method_that_is_none_is_refused_at_once(folder: Path, name: str, problem: str) -> None:
    (folder / "text.json").write_text("{")
    (folder / "list.json").write_text("[]")
    dspy.Predict("query -> response").save(folder / "other.json")
    with pytest.raises(InputError, match=problem):
        methods_named([name], OPEN)


async def test_a_methods_calls_are_journalled_and_its_evaluation_is_finished(folder: Path) -> None:
    (folder / "maya.jsonl").write_text(
        "\n".join(f'{{"query": "Film {n}?", "ground_truth": "yes", "at": "2024-01-0{n}"}}' for n in (1, 2, 3))
    )
    job = EvaluationJob(folder=folder, tasks=("open",), methods=("made_up_methods:Asks", "rag:k=4"))
    with loopback(lambda asked: Reply(None if "response_format" in asked.body else CHAT)) as server:
        settings = Settings(home=folder / "home", lm="openai/made-up", api_base=server.url)
        with Home(settings, HashEmbedder()) as home, home.run() as run:
            await run_job(job, settings, out=folder / "out", lm_of=run.lms.get)
            assert len(home.store.journal.calls(run.run_id)) == len(server.received) == 2
    assert read_evaluation(folder / "out").protocol.methods == ("made_up_methods:Asks", "rag")
