import asyncio
import json
import resource
import time
from pathlib import Path

import dspy
import pytest

from personaagent.data.errors import AnswerError, InputError, LMError, StoppedError, StorageError
from personaagent.data.lamp import LampData, LampUser
from personaagent.evaluation import (
    Evaluation,
    EvaluationStarted,
    Event,
    MajorityMethod,
    PromptMethod,
    QuestionAnswered,
    Resources,
    Row,
    UserPrepared,
    evaluate,
)
from personaagent.testing import ScriptedLM

from .conftest import TASK, Told, ToldMethod, made_up_user


def rows_by_question(evaluation: Evaluation) -> dict[str, Row]:
    return {row.question_id: row for row in evaluation.rows}


async def test_every_method_answers_every_question_once(data: LampData) -> None:
    evaluation = await evaluate([MajorityMethod(), ToldMethod(lambda _: "Action.")], data)
    answers = {(row.method, row.question_id): (row.prediction, row.parsed) for row in evaluation.rows}
    assert answers == {
        ("majority", "q1"): ("classic", "classic"),
        ("majority", "q2"): ("classic", "classic"),
        ("majority", "q3"): ("action", "action"),
        ("told", "q1"): ("Action.", "action"),
        ("told", "q2"): ("Action.", "action"),
        ("told", "q3"): ("Action.", "action"),
    }
    assert list(evaluation.methods) == ["majority", "told"]


async def test_one_bad_answer_stops_nothing_and_has_its_own_status(data: LampData) -> None:
    def answer(content: str) -> str | None:
        if content == "q1":
            raise LMError("the LM is down")
        if content == "q2":
            raise AnswerError("no readable response")
        return "no idea"

    rows = rows_by_question(await evaluate([ToldMethod(answer)], data))
    assert {name: row.status for name, row in rows.items()} == {"q1": "failed", "q2": "unparsed", "q3": "unparsed"}
    assert (rows["q1"].error, rows["q1"].message, rows["q1"].prediction) == ("LMError", "the LM is down", None)
    assert (rows["q2"].error, rows["q2"].prediction) == ("AnswerError", None)
    assert (rows["q3"].error, rows["q3"].prediction, rows["q3"].parsed) == (None, "no idea", None)


async def test_an_error_that_is_not_ours_is_a_row_too(data: LampData) -> None:
    def answer(content: str) -> str | None:
        return {"q1": "comedy", "q2": None}[content]

    rows = rows_by_question(await evaluate([ToldMethod(answer)], data))
    assert {name: row.status for name, row in rows.items()} == {"q1": "scored", "q2": "unparsed", "q3": "failed"}
    assert (rows["q3"].error, rows["q3"].message) == ("KeyError", "'q3'")


async def test_a_user_who_cannot_be_prepared_fails_alone(data: LampData) -> None:
    class Picky(ToldMethod):
        async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
            if user.user_id == "maya":
                raise AnswerError("no persona came")
            return await super().prepare(user, resources)

    rows = rows_by_question(await evaluate([Picky(lambda _: "action")], data))
    assert {name: row.status for name, row in rows.items()} == {"q1": "failed", "q2": "failed", "q3": "scored"}
    assert rows["q1"].message == "no persona came"


async def test_rows_are_on_disk_as_soon_as_they_are_known(data: LampData, tmp_path: Path) -> None:
    on_disk: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, QuestionAnswered):
            lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
            on_disk.append(len(lines))
            assert Row.from_json(lines[-1]) == event.row

    evaluation = await evaluate([MajorityMethod()], data, out=tmp_path / "out", listen=look)
    assert on_disk == [1, 2, 3]
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert tuple(Row.from_json(line) for line in lines) == evaluation.rows


async def test_rows_name_users_by_a_hash(data: LampData, tmp_path: Path) -> None:
    await evaluate([MajorityMethod()], data, out=tmp_path)
    written = (tmp_path / "rows.jsonl").read_text()
    assert "maya" not in written
    assert len({json.loads(line)["user_key"] for line in written.splitlines()}) == 2


async def test_rows_of_an_earlier_evaluation_are_not_overwritten(data: LampData, tmp_path: Path) -> None:
    await evaluate([MajorityMethod()], data, out=tmp_path)
    before = (tmp_path / "rows.jsonl").read_text()
    with pytest.raises(InputError, match="rows of an earlier evaluation: name another folder"):
        await evaluate([MajorityMethod()], data, out=tmp_path)
    assert (tmp_path / "rows.jsonl").read_text() == before


async def test_half_a_character_in_an_answer_is_written_as_a_question_mark(data: LampData, tmp_path: Path) -> None:
    evaluation = await evaluate([ToldMethod(lambda _: "caf\ud800")], data, out=tmp_path)
    assert {row.prediction for row in evaluation.rows} == {"caf?"}


async def test_a_folder_that_cannot_be_written_is_a_storage_error(data: LampData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        await evaluate([MajorityMethod()], data, out=tmp_path / "file" / "out")


async def test_a_full_disk_ends_the_evaluation_and_keeps_the_rows_that_were_written(tmp_path: Path) -> None:
    asked = {f"q{number}": "action" for number in range(50)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        with pytest.raises(StorageError, match=r"rows\.jsonl: cannot be written: File too large"):
            await evaluate([MajorityMethod()], LampData(TASK, (made_up_user("maya", asked),)), out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    *whole, _cut = (tmp_path / "rows.jsonl").read_text().split("\n")
    assert [Row.from_json(line).question_id for line in whole] == list(asked)[: len(whole)] != []


async def test_the_events_tell_what_happens(data: LampData) -> None:
    events: list[Event] = []
    await evaluate([MajorityMethod(), ToldMethod(lambda _: "action")], data, listen=events.append)
    assert events[0] == EvaluationStarted(("majority", "told"), users=2, questions=3)
    assert [event.done for event in events if isinstance(event, QuestionAnswered)] == [1, 2, 3, 4, 5, 6]
    assert {event.total for event in events if isinstance(event, QuestionAnswered)} == {6}
    assert [event.method for event in events if isinstance(event, UserPrepared)] == ["majority"] * 2 + ["told"] * 2


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_users_are_answered_at_once_and_each_is_asked_one_question_after_the_other(concurrency: int) -> None:
    begun: list[str] = []
    under_way: set[str] = set()
    most = 0
    same_user = False

    class Counting(Told):
        def forward(self, *, query: str) -> dspy.Prediction:
            nonlocal most, same_user
            question = TASK.content(query)
            begun.append(question)
            same_user = same_user or any(question[0] == other[0] for other in under_way)
            under_way.add(question)
            most = max(most, len(under_way))
            time.sleep(0.01)
            under_way.remove(question)
            return super().forward(query=query)

    class CountingMethod(ToldMethod):
        async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
            return Counting(self.answer)

    golds = {user: {f"{user}{number}": "action" for number in range(4)} for user in "abcde"}
    users = tuple(made_up_user(user, asked) for user, asked in golds.items())
    await evaluate([CountingMethod(lambda _: "action")], LampData(TASK, users), concurrency=concurrency)
    assert (most, same_user) == (concurrency, False)
    for user, asked in golds.items():
        assert [question for question in begun if question.startswith(user)] == list(asked)
    if concurrency == 1:
        assert begun == [question for user in "abcde" for question in golds[user]]


async def test_spend_is_that_of_each_question_and_counts_failed_ones(data: LampData) -> None:
    def answer(request: object) -> dict[str, str]:
        return {"response": "comedy" if "q1" in str(request) else "not a tag"}

    with dspy.context(lm=ScriptedLM(answer)):
        evaluation = await evaluate([PromptMethod()], data)
    rows = rows_by_question(evaluation)
    assert rows["q1"].status == "scored"
    assert rows["q2"].status == "unparsed"
    assert all(row.spend.calls >= 1 and row.spend.prompt_tokens > 0 for row in rows.values())
    summary = evaluation.methods["prompt"]
    assert summary.spend.calls == sum(row.spend.calls for row in rows.values())


async def test_preparing_a_user_is_spent_once(data: LampData) -> None:
    class Asking(ToldMethod):
        async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
            await dspy.Predict("history -> summary").acall(history="made up")
            return await super().prepare(user, resources)

    with dspy.context(lm=ScriptedLM({"summary": "likes films"}), adapter=dspy.JSONAdapter()):
        evaluation = await evaluate([Asking(lambda _: "action")], data)
    spent = {name: row.preparation and row.preparation.calls for name, row in rows_by_question(evaluation).items()}
    assert spent == {"q1": 1, "q2": None, "q3": 1}
    assert evaluation.methods["told"].spend.calls == 2


class Unsure(Told):
    """Says how probable it finds each tag."""

    def forward(self, *, query: str) -> dspy.Prediction:
        return dspy.Prediction(response="comedy", probabilities={"comedy": 0.5, "classic": 0.25, "action": 0.25})


class UnsureMethod(ToldMethod):
    async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
        return Unsure(self.answer)


async def test_a_row_has_the_probabilities_that_the_program_gave(data: LampData, tmp_path: Path) -> None:
    evaluation = await evaluate([UnsureMethod(lambda _: None, "unsure"), MajorityMethod()], data, out=tmp_path)
    unsure, other = (
        [row.probabilities for row in evaluation.rows if row.method == name] for name in ("unsure", "majority")
    )
    assert unsure == [{"comedy": 0.5, "classic": 0.25, "action": 0.25}] * 3
    assert other == [None] * 3
    written = [Row.from_json(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert tuple(written) == evaluation.rows
    assert evaluation.methods["unsure"].official["log_loss"] > 0
    assert "log_loss" not in evaluation.methods["majority"].official


async def test_free_text_has_no_probabilities(data: LampData) -> None:
    text = TASK.model_copy(update={"kind": "text", "labels": ()})
    evaluation = await evaluate([UnsureMethod(lambda _: None)], LampData(text, data.users))
    assert {row.probabilities is None for row in evaluation.rows} == {True}


async def test_online_a_preparation_that_failed_is_spent_once(data: LampData) -> None:
    class Failing(ToldMethod):
        async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
            raise AnswerError("no persona came")

    evaluation = await evaluate([Failing(lambda _: None)], LampData(TASK, data.users[:1]), online=True)
    assert [row.preparation is None for row in evaluation.rows] == [False, True]


async def test_a_listener_that_raises_ends_the_evaluation(data: LampData) -> None:
    def refuse(event: Event) -> None:
        if isinstance(event, QuestionAnswered):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await evaluate([MajorityMethod()], data, listen=refuse)
    assert len(asyncio.all_tasks()) == 1


async def test_with_golds_for_some_questions_only_nothing_is_asked(data: LampData) -> None:
    user = data.users[0]
    unknown = user.questions[0].model_copy(update={"ground_truth": None})
    half = LampUser("maya", user.history, (unknown, *user.questions[1:]))
    with pytest.raises(InputError, match="1 of 2 questions have no gold, the first is 'q1'"):
        await evaluate([MajorityMethod()], LampData(TASK, (half,)))


async def test_what_cannot_be_evaluated_is_refused(data: LampData) -> None:
    method = MajorityMethod()
    with pytest.raises(InputError, match="each only once"):
        await evaluate([method, method], data)
    with pytest.raises(InputError, match="name at least one"):
        await evaluate([], data)
    with pytest.raises(InputError, match="concurrency is 0"):
        await evaluate([method], data, concurrency=0)
    with pytest.raises(InputError, match="no questions"):
        await evaluate([method], LampData(TASK, ()))


async def test_online_a_question_joins_the_history_when_it_is_answered(data: LampData) -> None:
    known: list[tuple[str, ...]] = []

    class Learning(ToldMethod):
        async def learn(self, program: dspy.Module, user: LampUser, resources: Resources) -> dspy.Module:
            known.append(tuple(past.interaction_id for past in user.history))
            return Told(lambda _: user.history[-1].ground_truth)

    maya = data.users[0]
    evaluation = await evaluate([Learning(lambda _: "action")], LampData(TASK, (maya,)), online=True)
    assert [(row.question_id, row.prediction) for row in evaluation.rows] == [("q1", "action"), ("q2", "comedy")]
    assert known == [("maya-past-0", "maya-past-1", "maya-past-2", "q1")]
    assert all(row.preparation is not None for row in evaluation.rows)


async def test_a_method_that_learns_nothing_by_itself_is_prepared_again_online() -> None:
    user = made_up_user("maya", {"q1": "action", "q2": "action", "q3": "action"}, ("classic",))
    evaluation = await evaluate([MajorityMethod()], LampData(TASK, (user,)), online=True)
    assert [row.prediction for row in evaluation.rows] == ["classic", "classic", "action"]


@pytest.mark.parametrize("online", [False, True])
async def test_a_stop_during_a_preparation_ends_the_evaluation(online: bool) -> None:
    class Stopping(ToldMethod):
        async def prepare(self, user: LampUser, resources: Resources) -> dspy.Module:
            raise StoppedError("no more calls")

    user = made_up_user("maya", {"q1": "action", "q2": "action", "q3": "action"})
    evaluating = evaluate([Stopping(lambda _: None)], LampData(TASK, (user,)), online=online)
    with pytest.raises(StoppedError, match="no more calls"):
        await asyncio.wait_for(evaluating, timeout=10)
