"""A whole report on disk, from a small evaluation of made-up users."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from personaagent.data.call import Run
from personaagent.data.errors import InputError, ModelFileError, StorageError
from personaagent.data.task import Task
from personaagent.evaluation.record import PersonaRecord, Row
from personaagent.evaluation.report import WrittenReport, write_report
from personaagent.testing import HashEmbedder, in_memory_store

from . import made_up
from .conftest import SWEPT, write_both


def texts(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def folder_of(written: WrittenReport) -> Path:
    return written.files[0].parent


def page_of(written: WrittenReport) -> str:
    return (folder_of(written) / "report.html").read_text(encoding="utf-8")


def test_the_same_evaluation_gives_the_same_bytes(
    tmp_path: Path, reported: WrittenReport, embedder: HashEmbedder
) -> None:
    written = write_report(write_both(tmp_path, backwards=True), embedder=embedder)
    once, again = texts(folder_of(reported)), texts(folder_of(written))
    assert once.keys() == again.keys()
    assert {name for name in once if once[name] != again[name]} == set()


def test_a_report_has_all_its_sections_in_order(reported: WrittenReport) -> None:
    lines = (folder_of(reported) / "report.md").read_text(encoding="utf-8").splitlines()
    tasks = ["### LaMP-2M", "### LaMP-3"]
    assert [line for line in lines if line.startswith("#")] == [
        "# Evaluation of LaMP-2M, LaMP-3",
        *("## Findings", *tasks),
        *("## What was run", "### All tasks"),
        *("## Results", "### All tasks", *tasks),
        *("## Differences", *tasks),
        *("## Effects, ablations, scaling and cost", *tasks),
        *("## Personas", "### LaMP-2M"),
        *("## Questions", *tasks),
    ]
    for line in (
        "| LM (agent) | openai/made-up |",
        "LaMP-style, rebuilt",
        "| personaagent | LMError | 1 |",
        "| rag | (form) | 1 |",
        "| classic | 12 | 6 |",
        "| profile | 1.0 | 3.0 | 1.0 |",
    ):
        assert line in lines


def test_what_tasks_have_in_common_is_said_once(reported: WrittenReport) -> None:
    lines = (folder_of(reported) / "report.md").read_text(encoding="utf-8").splitlines()
    assert lines.count("| LM (agent) | openai/made-up |") == 1
    own = lines[lines.index("### All tasks") :]
    assert next(line for line in own if line.startswith("| task |")) == "| task | methods |"
    assert sum(line.startswith("| LaMP-2M (label) |") for line in own) == 1


def test_methods_stand_beside_each_other_in_all_tasks(reported: WrittenReport) -> None:
    lines = (folder_of(reported) / "report.md").read_text(encoding="utf-8").splitlines()
    table = lines[lines.index("| method | LaMP-2M accuracy | LaMP-3 mae |") :]
    rows = dict(line.strip("| ").split(" | ", 1) for line in table[2 : table.index("")])
    films, reviews = reported.analyses
    assert rows.keys() == films.methods.keys() | reviews.methods.keys()
    value, other = (of.methods["rag"].pooled[of.main_metric].value for of in reported.analyses)
    assert rows["rag"].startswith(f"{value:.3f} [")
    assert f" | {other:.3f} [" in rows["rag"]
    assert "|  |" in table[2 + list(rows).index("personaagent:without=persona")], "no such method there"


def test_a_question_has_its_answers_and_prompts_behind_a_fold(tmp_path: Path, embedder: HashEmbedder) -> None:
    films = made_up.protocol()
    made_up.write(tmp_path, films)
    calls = [made_up.call(films, method, f"Which tag, {method}? <b>Rain.</b>") for method in ("rag", "personaagent")]
    with in_memory_store() as store:
        store.journal.begin(Run(run_id=films.run_id, command="evaluate", started_at=films.started))
        store.journal.append(calls)
        page = page_of(write_report(tmp_path, embedder=embedder, journal=store.journal))
        bare = page_of(write_report(tmp_path, embedder=embedder, journal=store.journal, numbers_only=True))
    assert "All 24 questions" in page
    assert page.count("<summary>Question ") == 24
    first = page[page.index("Question a1-0 of user a1a1a1: comedy</summary>") :].partition("<summary>Question")[0]
    assert first.index("<summary>Prompt of rag</summary>") < first.index("<summary>Prompt of personaagent</summary>")
    assert "[system]\nYou are made up.\n\n[user]\nWhich tag, rag? &lt;b&gt;Rain.&lt;/b&gt;" in first
    assert "Prompt of majority" not in page
    assert "Question a1-0" not in bare
    assert "Rain." not in bare


def test_a_report_of_many_questions_is_a_small_page_that_says_so(tmp_path: Path, embedder: HashEmbedder) -> None:
    many = made_up.protocol(made_up.HEADLINES, methods=["rag"])
    made_up.write(tmp_path, many)
    rows = tmp_path / "rows.jsonl"
    read = [Row.from_json(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    longer = [row.model_copy(update={"message": None, "prediction": "<word> " * 9_000, "parsed": None}) for row in read]
    rows.write_text("".join(row.to_json() + "\n" for row in longer), encoding="utf-8")
    page = page_of(write_report(tmp_path, embedder=embedder))
    shown = page.count("<summary>Question ")
    assert len(page.encode()) < 2_000_000
    assert 0 < shown < 24
    assert f"The first {shown} of 24 questions" in page


def test_every_figure_that_is_named_is_there(reported: WrittenReport) -> None:
    folder = folder_of(reported)
    drawn = [path for path in reported.files if path.suffix == ".svg"]
    assert sorted((folder / "figures").iterdir()) == sorted(drawn)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert all(f"(figures/{path.name})" in report for path in drawn)
    assert (folder / "report.html").read_text(encoding="utf-8").count("<svg") == len(drawn)
    assert {path.stem.removeprefix("LaMP-2M-") for path in drawn if "LaMP-2M" in path.name} == {
        *("methods", "effect-majority", "effect-personaagent", "effect-rag-k-8"),
        *("ablation", "scaling-k", "scaling-n", "cost", "overlap", "map"),
    }


def test_no_id_is_twice_in_the_page(reported: WrittenReport) -> None:
    page = (folder_of(reported) / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) > 0
    assert len(ids) == len(set(ids))


def test_rows_of_all_tasks_are_in_both_forms(reported: WrittenReport) -> None:
    folder = folder_of(reported)
    rows = [Row.from_json(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == (len(SWEPT) + 3) * 24
    for row, record in zip(rows, pq.read_table(folder / "rows.parquet").to_pylist(), strict=True):
        assert (record["method"], record["gold"], record["prediction"]) == (row.method, row.gold, row.prediction)
        assert (record["status"], record["error"]) == (row.status, row.error)
        assert record["spend.prompt_tokens"] == row.spend.prompt_tokens
        assert record["spend.dollars"] is None
        assert record["preparation.calls"] == (row.preparation.calls if row.preparation else None)


def test_log_loss_and_calibration_error_are_shown_of_methods_that_have_them(
    tmp_path: Path, embedder: HashEmbedder
) -> None:
    films = made_up.protocol()
    made_up.write(tmp_path, films)
    written = [Row.from_json(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    unsure = [made_up.with_probabilities(row) if row.method != "majority" else row for row in written]
    (tmp_path / "rows.jsonl").write_text("".join(row.to_json() + "\n" for row in unsure), encoding="utf-8")
    folder = folder_of(write_report(tmp_path, embedder=embedder))
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    table = next(number for number, line in enumerate(lines) if line.startswith("| method | questions"))
    names, _, *of_methods = ([cell.strip() for cell in line.split("|")] for line in lines[table : table + 5])
    column = names.index("log_loss")
    beside = next(line for line in lines if line.startswith("| method | accuracy per user"))
    assert "log_loss per user" in beside
    assert "calibration_error per user" not in beside
    assert {cells[1]: cells[column] == "-" for cells in of_methods} == {
        "majority": True,
        "rag": False,
        "personaagent": False,
    }
    assert any(line.startswith("log_loss and calibration_error are ours") for line in lines)
    assert "| personaagent | log_loss |" in "\n".join(lines)
    kept = pq.read_table(folder / "rows.parquet").to_pylist()
    assert [record["probabilities"] and json.loads(str(record["probabilities"])) for record in kept] == [
        row.probabilities for row in unsure
    ]


def test_numbers_only_holds_no_text_of_a_user(tmp_path: Path, embedder: HashEmbedder) -> None:
    headlines = made_up.protocol(made_up.HEADLINES)
    made_up.write(tmp_path, headlines, made_up.records(headlines))
    folder, secret = folder_of(write_report(tmp_path, embedder=embedder)), made_up.SECRET.encode()
    told = {name for name, text in texts(folder).items() if secret in text}
    assert told == {"report.html", "report.md", "rows.jsonl", "rows.parquet"}
    written = write_report(tmp_path, embedder=embedder, numbers_only=True)
    left = texts(folder)
    assert {name for name, text in left.items() if secret in text} == set()
    assert {path.relative_to(folder).as_posix() for path in written.files} == left.keys()
    assert {name for name in left if name.startswith("rows")} == set()
    assert "LaMP-4-overlap.svg" in left["report.md"].decode(), "numbers about personas stay"


@pytest.mark.parametrize("task", [made_up.FILMS, made_up.REVIEWS, made_up.HEADLINES], ids=lambda task: task.kind)
def test_one_user_and_one_method_are_enough(tmp_path: Path, embedder: HashEmbedder, task: Task) -> None:
    alone = made_up.protocol(task, methods=["personaagent"], users=made_up.USERS[:1])
    made_up.write(tmp_path, alone, made_up.records(alone))
    write_report(tmp_path, embedder=embedder)
    lines = (tmp_path / "report" / "report.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        *("## Findings", "## What was run", "## Results", "## Personas", "## Questions")
    ]


def test_three_personas_have_an_overlap_and_no_map(tmp_path: Path, embedder: HashEmbedder) -> None:
    few = made_up.protocol(users=made_up.USERS[:3])
    made_up.write(tmp_path, few, made_up.records(few))
    names = {path.name for path in write_report(tmp_path, embedder=embedder).files}
    assert "LaMP-2M-overlap.svg" in names
    assert "LaMP-2M-map.svg" not in names


def test_without_the_embedder_the_map_is_missing_and_nothing_else(
    tmp_path: Path, embedder: HashEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    class Missing(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
            raise ModelFileError("/home/maya/model.onnx cannot be read")

    films = made_up.protocol()
    made_up.write(tmp_path, films, made_up.records(films))
    write_report(tmp_path, embedder=Missing())
    report = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "No map of personas: the embedder could not be used." in report
    assert "/home/maya" not in report
    assert "cannot be read" in caplog.text


def test_a_persona_that_was_not_aligned_is_shown_alone(tmp_path: Path, embedder: HashEmbedder) -> None:
    films = made_up.protocol()
    records = [
        PersonaRecord(method="personaagent", user_key=user, first=made_up.persona("Likes films."))
        for user in made_up.USERS
    ]
    made_up.write(tmp_path, films, records)
    write_report(tmp_path, embedder=embedder)
    assert "| persona |\n| --- |\n| profile: Likes films.<br>style: Be brief. |" in (
        tmp_path / "report" / "report.md"
    ).read_text(encoding="utf-8")


def test_nothing_finished_is_nothing_to_report(tmp_path: Path, embedder: HashEmbedder) -> None:
    with pytest.raises(InputError, match="holds no finished evaluation"):
        write_report(tmp_path, embedder=embedder)
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path, embedder: HashEmbedder) -> None:
    made_up.write(tmp_path, made_up.protocol(methods=["rag"]))
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(tmp_path, embedder=embedder)
