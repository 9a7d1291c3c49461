"""Questions without golds are predicted, and the predictions are written as LaMP takes them in. All is made up."""

import json
from pathlib import Path

import pytest

from personaagent.cli.demo import write_lamp_files
from personaagent.data.errors import InputError
from personaagent.data.lamp import LampData
from personaagent.evaluation import evaluate
from personaagent.evaluation.report import write_report
from personaagent.evaluation.run import EvaluationJob, run_job
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

from ..application.command_line import CommandLine, done
from ..loopback import loopback
from .conftest import TASK, ToldMethod, made_up_user


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """A folder with two splits; the golds of `test` are hidden."""
    folder = write_lamp_files(tmp_path / "LaMP-2M")
    questions = (folder / "questions.json").rename(folder / "test_questions.json")
    (folder / "dev_questions.json").write_bytes(questions.read_bytes())
    (folder / "outputs.json").rename(folder / "dev_outputs.json")
    return folder


def test_the_hidden_split_is_predicted_and_written_to_be_handed_in(lamp: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with loopback() as server:
        personaagent = CommandLine(tmp_path / "home", server)
        asked = ("evaluate", lamp, "--task", "LaMP-2M", "--method", "majority", "--method", "prompt", "--out", out)
        finished = done(personaagent(*asked, "--split", "test", *personaagent.lm))
    assert "no golds, so nothing is scored" in finished.out
    questions = json.loads((lamp / "test_questions.json").read_bytes())
    for method in ("majority", "prompt"):
        handed_in = json.loads((out / f"submission-{method}.json").read_bytes())
        assert handed_in["task"] == "LaMP_2"
        assert {gold["id"] for gold in handed_in["golds"]} == {question["id"] for question in questions}
        assert all(gold["output"] for gold in handed_in["golds"])
    with pytest.raises(InputError, match="LaMP-2M have no golds, so there is nothing to report"):
        write_report(out, embedder=HashEmbedder())


async def test_the_split_decides_what_is_read(lamp: Path, tmp_path: Path) -> None:
    job = EvaluationJob(folder=lamp, tasks=("LaMP-2M",), methods=("majority",))
    with pytest.raises(InputError, match="several splits"):
        job.check()
    results = await run_job(job.model_copy(update={"split": "dev"}), Settings(home=tmp_path), out=tmp_path / "out")
    assert results["LaMP-2M"].methods["majority"].scored == 3
    assert not list((tmp_path / "out").glob("submission-*"))


async def test_without_golds_an_answer_is_unscored_and_none_is_a_failure(tmp_path: Path) -> None:
    user = made_up_user("maya", {"q1": "", "q2": ""})
    hidden = tuple(question.model_copy(update={"ground_truth": None}) for question in user.questions)
    data = LampData(TASK, (type(user)(user.user_id, user.history, hidden),))
    result = await evaluate([ToldMethod({"q1": "classic"}.get)], data)
    assert [(row.status, row.parsed, row.gold) for row in result.rows] == [
        ("unscored", "classic", None),
        ("unparsed", None, None),
    ]
    assert (result.has_golds, result.methods["told"].official, result.methods["told"].per_user) == (False, {}, {})
