"""A task of one's own, and a metric of one's own."""

import json
from pathlib import Path

import dspy
import pytest

from personaagent.data.errors import InputError, UnknownNameError
from personaagent.data.lamp import LampData
from personaagent.data.metric import metric_named, scored_by
from personaagent.data.task import Task
from personaagent.evaluation import MajorityMethod, PersonaAgentMethod, evaluate
from personaagent.evaluation.data import history_files, load_histories, own_task
from personaagent.evaluation.intervals import intervals, pooled
from personaagent.evaluation.run import EvaluationJob, LocalEngine
from personaagent.testing import ScriptedLM, in_memory_store

from .conftest import ANSWERS, InMemoryResources, ToldMethod

MOODS = Task(name="moods", kind="label", labels=("calm", "tense"))


def half_if_tense(_example: dspy.Example, prediction: dspy.Prediction) -> float:
    return 0.5 if prediction.response == "tense" else 1.0


def broken(example: dspy.Example, _prediction: dspy.Prediction) -> float:
    raise ZeroDivisionError(example.query)


def below_nothing(_example: dspy.Example, _prediction: dspy.Prediction) -> float:
    return -1.0


def silent(_example: dspy.Example, _prediction: dspy.Prediction) -> None:
    return None


def of_one_argument(_example: dspy.Example) -> float:
    return 1.0


def broken_if_tense(_example: dspy.Example, prediction: dspy.Prediction) -> float:
    return {"calm": 1.0}[prediction.response]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "task.json").write_text(MOODS.to_json())
    for user, moods in {"maya": ["calm"] * 5, "omar": ["tense", "tense", "calm", "tense", "calm"]}.items():
        lines = (
            json.dumps({"query": f"Evening {day}?", "ground_truth": mood, "at": f"2024-03-{day:02}"})
            for day, mood in enumerate(moods, 1)
        )
        (tmp_path / f"{user}.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def moods(folder: Path) -> LampData:
    return load_histories(history_files(folder), own_task(folder, "moods"))


async def test_a_task_is_what_its_file_says(moods: LampData) -> None:
    result = await evaluate([MajorityMethod()], moods)
    assert result.task == MOODS
    assert result.methods["majority"].official["accuracy"] == 0.5


async def test_the_whole_system_takes_a_task_that_nobody_knows_by_name(moods: LampData) -> None:
    lm = ScriptedLM({**ANSWERS, "tool": "look_up_profile", "response": "calm", "rules": []})
    with in_memory_store() as store, dspy.context(lm=lm):
        engine = LocalEngine(lambda task: InMemoryResources(task, store))
        result = await evaluate([PersonaAgentMethod()], moods, engine=engine)
    assert [row.status for row in result.rows] == ["scored", "scored"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "describes no task: the file: Invalid JSON"),
        ('{"name": "moods", "kind": "label"}', "describes no task: labels: list two or more"),
        ('{"name": "moods", "kind": "colour"}', "describes no task: kind: Input should be"),
    ],
)
def test_a_file_that_describes_no_task_is_named(folder: Path, text: str, problem: str) -> None:
    (folder / "task.json").write_text(text)
    with pytest.raises(InputError, match=rf"task\.json: {problem}"):
        own_task(folder, "moods")


def test_another_name_is_not_the_files_task(folder: Path) -> None:
    assert own_task(folder, "open").name == "open"
    with pytest.raises(UnknownNameError, match="unknown task 'colours': use one of moods, open, "):
        own_task(folder, "colours")
    with pytest.raises(UnknownNameError, match=r"did you mean 'moods'\?$"):
        own_task(folder, "mood")


async def test_answers_are_scored_by_ones_own_metric_alone(moods: LampData) -> None:
    told = ToldMethod({"Evening 5?": "tense"}.get)
    result = await evaluate([told], scored_by(moods, half_if_tense))
    assert result.as_json()["scorer"] == "own metric: half_if_tense"
    assert result.methods["told"].official == {"half_if_tense": 0.5}
    assert [row.score for row in result.rows] == [0.5, 0.5]


async def test_no_answer_has_no_score_and_counts_as_the_worst(moods: LampData) -> None:
    answers = iter(["calm", "a colour"])
    result = await evaluate([ToldMethod(lambda _: next(answers))], scored_by(moods, half_if_tense))
    assert sorted(row.score or -1 for row in result.rows) == [-1, 1.0]
    assert result.methods["told"].official == {"half_if_tense": 0.5}
    assert result.methods["told"].scored_only == {"half_if_tense": 1.0}
    assert intervals(pooled(result.task, result.rows))["half_if_tense"].value == 0.5


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        (broken, r"\('calm'\): it raises ZeroDivisionError: Evening 5\?"),
        (below_nothing, r"returns -1\.0: a score must be a number, 0 or more"),
        (silent, "returns None: a score must be a number"),
        (of_one_argument, "raises TypeError: .*is called with"),
    ],
)
def test_a_metric_that_fails_is_refused_before_anything_is_asked(moods: LampData, metric: object, problem: str) -> None:
    with pytest.raises(InputError, match=rf"metric \S*test_own_task:{metric.__name__} fails .*{problem}"):  # type: ignore[attr-defined]
        scored_by(moods, metric)  # type: ignore[arg-type]


async def test_a_metric_that_fails_for_some_answers_makes_failed_rows(moods: LampData) -> None:
    answers = iter(["calm", "tense"])
    result = await evaluate([ToldMethod(lambda _: next(answers))], scored_by(moods, broken_if_tense))
    assert {(row.status, row.error, row.parsed, row.prediction) for row in result.rows} == {
        ("scored", None, "calm", "calm"),
        ("failed", "KeyError", None, "tense"),
    }


def test_a_metric_goes_by_the_name_of_its_function(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "made_up_metric.py").write_text("def alike(example, prediction):\n    return True\n")
    monkeypatch.syspath_prepend(folder)
    job = EvaluationJob(folder=folder, tasks=("moods",), methods=("majority",), metric="made_up_metric:alike")
    data = job.data("moods")
    assert (data.task.metric, data.metric is None) == ("alike", False)


def test_a_job_that_shuffles_users_says_so(folder: Path) -> None:
    job = EvaluationJob(folder=folder, tasks=("moods",), methods=("majority",), shuffle_users=True)
    plain, shuffled = job.model_copy(update={"shuffle_users": False}).data("moods"), job.data("moods")
    assert [user.history for user in shuffled.users] == [user.history for user in reversed(plain.users)]
    assert [user.questions for user in shuffled.users] == [user.questions for user in plain.users]
    assert "history of another user" in shuffled.notes[-1]


@pytest.mark.parametrize("name", ["no_such_module:alike", "math:no_such_function", "math:pi"])
def test_a_metric_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"metric '{name}'"):
        metric_named(name)
