"""An LM by its name: what is on the wire, and what is refused."""

import logging
import os
from pathlib import Path
from typing import Literal

import dspy
import pytest

from personaagent.data.errors import InputError, LMError, ModelFileError, UnknownNameError
from personaagent.lms import open_lm, opening
from personaagent.programs.lm_errors import lm_errors

from ..loopback import HANG, Answering, Loopback, Reply, loopback


class Answer(dspy.Signature):
    """Answer in the given tone."""

    query: str = dspy.InputField()
    response: str = dspy.OutputField()
    tone: Literal["dry", "warm"] = dspy.OutputField()


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


def ask(lm: dspy.LM, query: str = "Capital of France?") -> dspy.Prediction:
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()), lm_errors():
        return dspy.Predict(Answer)(query=query)


def test_a_server_gets_the_json_schema_and_the_bounds(server: Loopback) -> None:
    lm = open_lm("openai/qwen3", api_base=server.url, max_tokens=77)
    assert ask(lm).response == "made-up response"
    [request] = server.asked
    assert request.path == "/v1/chat/completions"
    assert request.body["model"] == "qwen3"
    assert request.body["response_format"]["type"] == "json_schema"
    schema = request.body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["tone"]["enum"] == ["dry", "warm"]
    assert request.body["temperature"] == 0
    assert 77 in (request.body.get("max_tokens"), request.body.get("max_completion_tokens"))


async def test_a_server_is_asked_asynchronously_too(server: Loopback) -> None:
    lm = open_lm("openai/qwen3", api_base=server.url)
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        assert (await dspy.Predict(Answer).acall(query="Capital of France?")).tone == "dry"
    await lm.aclose()
    assert "response_format" in server.received[0]


def test_a_server_gets_native_tools(server: Loopback) -> None:
    def search(query: str) -> str:
        """Search."""
        return query

    class Act(dspy.Signature):
        query: str = dspy.InputField()
        tools: list[dspy.Tool] = dspy.InputField()
        calls: dspy.ToolCalls = dspy.OutputField()

    server.answering = lambda _: Reply(content="[[ ## calls ## ]]\n[]")
    adapter = dspy.ChatAdapter(use_native_function_calling=True, use_json_adapter_fallback=False)
    with dspy.context(lm=open_lm("openai/qwen3", api_base=server.url), adapter=adapter):
        dspy.Predict(Act)(query="q", tools=[dspy.Tool(search)])
    assert server.received[0]["tools"][0]["function"]["name"] == "search"


def test_the_key_comes_from_the_variable_of_the_provider(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-key")
    monkeypatch.setenv("MISTRAL_API_KEY", "another-key")
    ask(open_lm("openai/qwen3", api_base=server.url))
    ask(open_lm("mistral/small", api_base=server.url))
    keys = [request.headers["authorization"] for request in server.asked]
    assert keys == ["Bearer made-up-key", "Bearer another-key"]


def test_a_server_without_a_key_is_asked_without_one(server: Loopback) -> None:
    assert ask(open_lm("qwen3", api_base=server.url)).response == "made-up response"
    assert "made-up" not in server.asked[0].headers.get("authorization", "")


def test_a_model_may_have_slashes_in_its_name(server: Loopback) -> None:
    ask(open_lm("openai/maker/model-7b", api_base=server.url + "/"))
    assert server.received[0]["model"] == "maker/model-7b"


def test_two_servers_with_one_model_name_never_cross() -> None:
    def says(word: str) -> Answering:
        return lambda _: Reply(f'{{"response": "{word}", "tone": "dry"}}')

    with loopback(says("one")) as one, loopback(says("other")) as other:
        lms = [open_lm("openai/qwen3", api_base=server.url) for server in (one, other, one)]
        assert [ask(lm).response for lm in (*lms, *lms)] == ["one", "other", "one"] * 2
    assert (len(one.received), len(other.received)) == (4, 2)


def test_the_same_question_is_asked_again_not_remembered(server: Loopback) -> None:
    lm = open_lm("openai/qwen3", api_base=server.url)
    ask(lm)
    ask(lm)
    assert len(server.received) == 2
    assert not open_lm("openai/gpt-4.1-mini").cache


def test_a_reasoning_model_gets_room_and_its_own_temperature(server: Loopback) -> None:
    ask(open_lm("openai/gpt-5-mini", api_base=server.url))
    [body] = server.received
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 16_000


@pytest.mark.parametrize(
    ("status", "advice", "retryable"),
    [(401, "key variable", False), (404, "name of the model", False), (429, "fewer calls", True), (500, "later", True)],
)
def test_a_failing_server_is_an_lm_error_with_advice(
    server: Loopback, status: int, advice: str, retryable: bool
) -> None:
    server.answering = lambda _: Reply(status=status)
    lm = open_lm("openai/qwen3", api_base=server.url)
    lm.num_retries = 0
    with pytest.raises(LMError, match=advice) as caught:
        ask(lm)
    assert caught.value.retryable is retryable
    assert "qwen3" in str(caught.value) and f"status {status}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_busy_server_is_asked_again(server: Loopback) -> None:
    server.answering = lambda _: Reply(status=429, headers={"Retry-After": "0"})
    with pytest.raises(LMError):
        ask(open_lm("openai/qwen3", api_base=server.url))
    assert len(server.received) == 4


@pytest.mark.slow
def test_a_misspelt_provider_is_an_lm_error_that_names_the_one_that_is_meant() -> None:
    with pytest.raises(LMError, match=r"^opneai/gpt: no provider is called 'opneai': .*; did you mean 'openai'\?$"):
        ask(open_lm("opneai/gpt"))


async def test_a_server_that_is_silent_for_too_long_is_an_lm_error(server: Loopback) -> None:
    server.answering = lambda _: HANG
    lm = open_lm("openai/qwen3", api_base=server.url, timeout=0.2)
    lm.num_retries = 0
    with pytest.raises(LMError, match=r"no bytes for 0\.2s") as caught:
        ask(lm)
    assert caught.value.retryable
    with dspy.context(lm=lm), pytest.raises(LMError, match=r"no bytes for 0\.2s"), lm_errors():
        await dspy.Predict(Answer).acall(query="Capital of France?")
    await lm.aclose()


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_bounds_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="seconds above 0"):
        open_lm("openai/qwen3", timeout=seconds)


def test_a_server_that_is_not_there_is_an_lm_error() -> None:
    lm = open_lm("openai/qwen3", api_base="http://127.0.0.1:9/v1")
    lm.num_retries = 0
    with pytest.raises(LMError, match="server is up"):
        ask(lm)


def test_no_key_reaches_a_message(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "status 401")  # what the server repeats
    server.answering = lambda _: Reply(status=401)
    with pytest.raises(LMError) as caught:
        ask(open_lm("openai/qwen3", api_base=server.url))
    assert "status 401" not in str(caught.value)
    assert "(key)" in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "", "http://"])
def test_a_base_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="write one like"):
        open_lm("openai/qwen3", api_base=url)


def test_a_base_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        open_lm("openai/qwen3", api_base="http://user:secret@host/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["openai/", "/"])
def test_a_name_without_a_model_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        open_lm(name)
    with pytest.raises(InputError):
        open_lm(name, api_base="http://127.0.0.1:9/v1")


def test_prices_are_not_downloaded_unless_the_user_wants_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP")
    open_lm("openai/gpt-4.1-mini")
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "False")
    open_lm("openai/gpt-4.1-mini")
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "False"


def test_without_model_files_the_command_that_fetches_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path))
    with pytest.raises(ModelFileError, match=r"personaagent models fetch qwen2\.5-coder-1\.5b"):
        open_lm()
    with pytest.raises(ModelFileError, match="personaagent models fetch smollm2"):
        open_lm("embedded/smollm2")


def test_a_wrong_model_file_is_refused_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path))
    (tmp_path / "smollm2-135m-instruct-q4_1.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="expected 98,362,432 bytes, found 11"):
        open_lm()


def test_a_fallback_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path))
    (tmp_path / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf").write_bytes(b"not a model")
    (tmp_path / "smollm2-135m-instruct-q4_1.gguf").write_bytes(b"not a model")
    opening._say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(ModelFileError, match=r"coder-0\.5b"):
                open_lm()
    assert len(caplog.messages) == 1
    assert "models fetch qwen2.5-coder-1.5b" in caplog.messages[0]


def test_an_embedded_model_has_a_known_name_and_no_server() -> None:
    with pytest.raises(UnknownNameError, match="smollm2"):
        open_lm("embedded/minilm")
    with pytest.raises(InputError, match="API base"):
        open_lm("embedded", api_base="http://localhost:8000/v1")
