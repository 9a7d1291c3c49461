"""Protocols and personas beside the rows: what is written is read again, and half an evaluation is none."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from personaagent.data.errors import InputError, RecordError, StorageError
from personaagent.evaluation.record import (
    EvaluationProtocol,
    EvaluationWriter,
    FinishedEvaluation,
    PersonaRecord,
    Row,
    read_evaluation,
    read_evaluations,
    write_protocol,
)

from .report import made_up

FILMS = made_up.protocol()


def write_rows(folder: Path, rows: list[Row]) -> None:
    writer = EvaluationWriter(folder)
    for row in rows:
        writer.write(row)
    write_protocol(folder, FILMS)


def test_what_was_written_is_read_in_the_order_of_the_protocol(tmp_path: Path) -> None:
    records = made_up.records(FILMS)
    made_up.write(tmp_path, FILMS, reversed(records), backwards=True)
    assert read_evaluation(tmp_path) == FinishedEvaluation(FILMS, tuple(made_up.rows(FILMS)), tuple(records))


def test_a_protocol_counts_its_users_and_questions() -> None:
    assert (FILMS.n_users, FILMS.n_questions) == (6, 24)


@pytest.mark.parametrize("split", ["/home/maya/films", "films/dev", "C:\\films"])
def test_a_path_is_no_split(split: str) -> None:
    with pytest.raises(ValidationError, match="is a path"):
        EvaluationProtocol.model_validate({**FILMS.model_dump(), "split": split})


def test_the_last_persona_is_the_aligned_one_if_there_is_one() -> None:
    [record, *_] = made_up.records(FILMS)
    assert record.last == record.aligned
    unaligned = PersonaRecord(method="personaagent", user_key="a1", first=record.first)
    assert unaligned.last == record.first


def test_a_folder_without_a_protocol_is_not_finished(tmp_path: Path) -> None:
    EvaluationWriter(tmp_path).write(made_up.rows(FILMS)[0])
    with pytest.raises(InputError, match="holds no finished evaluation"):
        read_evaluation(tmp_path)
    with pytest.raises(InputError, match="holds no finished evaluation"):
        read_evaluations(tmp_path)


def test_a_missing_row_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, made_up.rows(FILMS)[:-1])
    with pytest.raises(InputError, match=r"0 row\(s\) of personaagent for question 'f6-3', where the protocol has 1"):
        read_evaluation(tmp_path)


def test_a_row_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    rows = made_up.rows(FILMS)
    write_rows(tmp_path, [*rows, rows[0]])
    with pytest.raises(InputError, match=r"2 row\(s\) of majority for question 'a1-0', where the protocol has 1"):
        read_evaluation(tmp_path)


def test_a_row_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    rows = made_up.rows(FILMS)
    write_rows(tmp_path, [*rows, rows[0].model_copy(update={"method": "guess"})])
    with pytest.raises(InputError, match=r"1 row\(s\) of guess for question 'a1-0', where the protocol has 0"):
        read_evaluation(tmp_path)


def test_a_persona_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    stranger = made_up.records(FILMS)[0].model_copy(update={"user_key": "ff"})
    made_up.write(tmp_path, FILMS, [stranger])
    with pytest.raises(RecordError, match=r"personas\.jsonl: line 1, field 'user_key'"):
        read_evaluation(tmp_path)


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    made_up.write(tmp_path, FILMS)
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join([lines[0], '{"method": "rag"}', *lines[2:]]), encoding="utf-8")
    with pytest.raises(RecordError, match=r"rows\.jsonl: line 2, field 'task'"):
        read_evaluation(tmp_path)


def test_characters_that_end_lines_elsewhere_do_not_end_a_row(tmp_path: Path) -> None:
    first, *others = made_up.rows(FILMS)
    answer = "one\u2028two\x85three"
    write_rows(tmp_path, [first.model_copy(update={"prediction": answer}), *others])
    assert read_evaluation(tmp_path).rows[0].prediction == answer


def test_several_tasks_come_by_name(tmp_path: Path) -> None:
    made_up.write(tmp_path / "b", FILMS)
    made_up.write(tmp_path / "a", made_up.protocol(made_up.REVIEWS))
    assert [evaluation.protocol.task.name for evaluation in read_evaluations(tmp_path)] == ["LaMP-2M", "LaMP-3"]


def test_two_evaluations_of_one_task_do_not_go_together(tmp_path: Path) -> None:
    made_up.write(tmp_path / "a", FILMS)
    made_up.write(tmp_path / "b", FILMS)
    with pytest.raises(InputError, match="holds 2 evaluations of LaMP-2M"):
        read_evaluations(tmp_path)


def test_personas_of_an_interrupted_stretch_are_written_anew(tmp_path: Path) -> None:
    made_up.write(tmp_path, FILMS, made_up.records(FILMS)[:2])
    made_up.write(tmp_path, FILMS, made_up.records(FILMS))
    assert len(read_evaluation(tmp_path).personas) == 6


def test_without_a_folder_nothing_is_kept() -> None:
    EvaluationWriter(None).write(made_up.records(FILMS)[0])


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_protocol(tmp_path / "file" / "out", FILMS)
    with pytest.raises(StorageError, match="cannot be written"):
        EvaluationWriter(tmp_path / "file" / "out")


def test_a_refused_evaluation_leaves_the_personas_of_the_earlier_one(tmp_path: Path) -> None:
    made_up.write(tmp_path, FILMS, made_up.records(FILMS))
    with pytest.raises(InputError, match="holds the rows of an earlier evaluation"):
        EvaluationWriter(tmp_path, "another-run")
    assert len(read_evaluation(tmp_path).personas) == 6
