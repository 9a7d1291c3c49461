"""The embedded LM on a small real model: forms, types and errors, never content."""

import asyncio
import copy
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import dspy
import pytest
from dspy.lm15 import Config, Message, Request

from personaagent.data.errors import LMError, ModelFileError, SetupError, StoppedError
from personaagent.data.task import Task
from personaagent.lms import open_lm
from personaagent.lms.embedded import LlamaEngine, default_threads, shared_engine, usable_cores
from personaagent.lms.llama_requests import raise_as_dspy
from personaagent.lms.models import MODELS
from personaagent.programs.lm_errors import lm_errors
from personaagent.programs.respond import Respond
from personaagent.programs.scope import Cancellation
from personaagent.programs.streaming import response_in, telling

MODEL = MODELS["smollm2"]
pytestmark = pytest.mark.slow


class Judge(dspy.Signature):
    """Judge the review."""

    review: str = dspy.InputField()
    verdict: Literal["good", "bad"] = dspy.OutputField()
    stars: Literal[1, 2, 3, 4, 5] = dspy.OutputField()


@pytest.fixture(scope="module")
def path() -> Path:
    if not MODEL.is_on_disk:
        pytest.skip(f"{MODEL.name} is not on this machine: run `personaagent models fetch {MODEL.name}`")
    return MODEL.paths()[0]


@pytest.fixture
def lm(path: Path) -> dspy.LM:
    return open_lm("embedded/smollm2", threads=1, max_tokens=60)


@pytest.fixture(autouse=True)
def _adapter() -> Iterator[None]:
    with dspy.context(adapter=dspy.JSONAdapter()):
        yield


def judge(lm: dspy.LM, review: str) -> dspy.Prediction:
    with dspy.context(lm=lm, track_usage=True), lm_errors():
        return dspy.Predict(Judge)(review=review)


@pytest.mark.slow
@pytest.mark.live
def test_an_answer_keeps_to_the_schema_and_says_what_it_used(lm: dspy.LM) -> None:
    answer = judge(lm, "A dark, slow film. I loved it.")
    assert answer.verdict in ("good", "bad") and answer.stars in range(1, 6)
    usage = (answer.get_lm_usage() or {})["embedded/smollm2"]
    assert usage["prompt_tokens"] > 100 and usage["completion_tokens"] > 5


@pytest.mark.live
def test_the_same_question_gets_the_same_answer(lm: dspy.LM) -> None:
    answers = [judge(lm, "Two hours that I will never get back.").toDict() for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.live
def test_answers_that_begin_alike_have_probabilities_of_their_own_and_the_same_ones_again(lm: dspy.LM) -> None:
    task = Task(name="made up", kind="label", labels=("dark comedy", "dark drama", "dark", "classic"))
    with dspy.context(lm=lm):
        found = [Respond(task)(query="A ghost haunts a tax inspector.", interactions="", observations="") for _ in "12"]
    first, again = (prediction.lm_probabilities for prediction in found)
    assert list(first) == list(task.labels)
    assert sum(first.values()) == pytest.approx(1)
    assert len(set(first.values())) == len(task.labels)
    assert again == first


@pytest.mark.slow
@pytest.mark.live
def test_a_system_prompt_is_computed_once_though_others_are_asked_between(path: Path) -> None:
    def cached(subject: str) -> int:
        request = Request(
            model="m",
            system=f"{subject}: answer what is asked about it. " * 12,
            messages=(Message.user("Ready?"),),
            config=Config(max_tokens=1),
        )
        return shared_engine(path, threads=1).complete(request).usage.cache_read_tokens or 0

    subjects = ("Films", "Birds", "Songs")
    assert max([cached(subject) for subject in subjects]) < 50
    assert min([cached(subject) for subject in subjects]) > 100


@pytest.mark.slow
@pytest.mark.live
async def test_awaited_calls_all_get_their_answers(lm: dspy.LM) -> None:
    with dspy.context(lm=lm):
        answers = await asyncio.gather(*(dspy.Predict(Judge).acall(review=f"Film {number}.") for number in range(3)))
    assert {answer.verdict for answer in answers} <= {"good", "bad"}


@pytest.mark.live
def test_a_cut_answer_says_so(path: Path) -> None:
    request = Request(model="m", messages=(Message.user("Count to a thousand."),), config=Config(max_tokens=3))
    response = shared_engine(path, threads=1).complete(request)
    assert (response.finish_reason, response.usage.output_tokens) == ("length", 3)
    [*_, end] = shared_engine(path).stream(request)
    assert getattr(end, "finish_reason", None) == "length"


RESPOND = {
    "type": "json_schema",
    "schema": {
        "type": "object",
        "properties": {"response": {"type": "string"}},
        "required": ["response"],
        "additionalProperties": False,
    },
}
ASKED = Request(
    model="m",
    messages=(Message.user("Tell a story about an owl."),),
    config=Config(max_tokens=60, response_format=RESPOND),
)


@pytest.mark.live
def test_an_answer_is_heard_while_it_is_written(path: Path) -> None:
    pieces: list[str] = []
    with telling(pieces.append):
        response = shared_engine(path, threads=1).complete(ASKED)
    assert len(pieces) > 1
    assert "".join(pieces) == response_in(response.text or "").strip()
    unheard = shared_engine(path).complete(ASKED)
    assert (unheard.text, unheard.usage.output_tokens) == (response.text, response.usage.output_tokens)


@pytest.mark.live
def test_an_answer_that_nobody_waits_for_is_cut_off(path: Path) -> None:
    pieces: list[str] = []
    cancellation = Cancellation()

    def hear(piece: str) -> None:
        pieces.append(piece)
        cancellation.cut()

    with telling(hear), cancellation.inside(), pytest.raises(StoppedError, match="cut off"):
        shared_engine(path, threads=1).complete(ASKED)
    assert len(pieces) == 1


@pytest.mark.live
def test_a_prompt_longer_than_the_context_is_named_and_not_tried_again(lm: dspy.LM) -> None:
    with dspy.context(lm=lm), pytest.raises(dspy.ContextWindowExceededError, match="8192"):
        dspy.Predict(Judge)(review="far too long " * 4000)
    with pytest.raises(LMError, match="fewer or shorter") as caught:
        judge(lm, "far too long " * 4000)
    assert not caught.value.retryable and "\n" not in str(caught.value)


@pytest.mark.live
def test_a_schema_that_llama_cannot_read_is_refused(path: Path) -> None:
    schema = {"type": "json_schema", "name": "answer", "schema": {"type": "nonsense"}}
    request = Request(model="m", messages=(Message.user("hi"),), config=Config(response_format=schema))
    with pytest.raises(dspy.lm15.InvalidRequestError, match="nonsense"):
        shared_engine(path, threads=1).complete(request)


@pytest.mark.live
def test_one_file_is_loaded_once_and_copies_share_it(lm: dspy.LM, path: Path) -> None:
    another = open_lm("embedded/smollm2", threads=1, temperature=0.5)
    assert lm.engine is another.engine is shared_engine(path)
    program = dspy.Predict(Judge)
    program.set_lm(lm)
    assert copy.deepcopy(program).lm is not None
    assert lm.copy(max_tokens=5).engine is lm.engine


@pytest.mark.live
def test_the_loopback_port_wants_a_key_that_nobody_has(path: Path) -> None:
    server = shared_engine(path, threads=1)._server
    assert server is not None
    address = urlsplit(server.listening_address)
    assert address.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(address.hostname, address.port)
    connection.request("POST", "/v1/chat/completions", body="{}", headers={"Content-Type": "application/json"})
    assert connection.getresponse().status == 401
    connection.close()


@pytest.mark.live
def test_a_closed_engine_refuses_and_is_not_asked_again(path: Path) -> None:
    engine = LlamaEngine(path, threads=1)
    engine.close()
    lm = dspy.LM("embedded/closed", engine=engine, cache=False)
    with pytest.raises(LMError, match="closed"):
        judge(lm, "Fine.")


@pytest.mark.live
def test_threads_of_the_process_share_an_engine(lm: dspy.LM) -> None:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(lm("Say yes.", max_tokens=4)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1 and len(answers) == 3


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "made-up.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match=r"made-up\.gguf"):
        LlamaEngine(tmp_path / "made-up.gguf", threads=1)


def test_the_number_of_threads_is_the_variables_or_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAAGENT_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.delenv("PERSONAAGENT_THREADS")
    assert default_threads() == usable_cores() >= 1
    for wrong in ("two", "0", "-1"):
        monkeypatch.setenv("PERSONAAGENT_THREADS", wrong)
        with pytest.raises(SetupError, match="PERSONAAGENT_THREADS"):
            default_threads()


def test_an_error_of_the_server_has_the_kind_that_dspy_retries_or_not() -> None:
    kinds = {400: "InvalidRequestError", 404: "InvalidRequestError", 500: "ServerError", 503: "ServerError"}
    for status, kind in {**kinds, 501: "UnsupportedFeatureError"}.items():
        with pytest.raises(getattr(dspy.lm15, kind), match="made up"):
            raise_as_dspy({"code": status, "message": "made up", "type": "made_up"})
