"""Clients that others wrote, unchanged: OpenAI's own, those of frameworks, a browser on another origin."""

from collections.abc import Callable, Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, QUICK, Server, serving

Client = Callable[[str], openai.OpenAI]


@pytest.fixture
def client(server: Server) -> Client:
    """Return a client on the key of a user."""

    def on_key_of(user: str) -> openai.OpenAI:
        token = server.key_of(user)["Authorization"].removeprefix("Bearer ")
        return openai.OpenAI(base_url=f"{server.client.base_url}/v1", api_key=token, max_retries=0)

    return on_key_of


def asked(client: openai.OpenAI, query: str) -> ChatCompletion:
    return client.chat.completions.create(
        model="personaagent", messages=[{"role": "user", "content": query}], user="whoever"
    )


def test_it_asks_streams_and_corrects_and_the_next_user_sees_nothing_of_it(server: Server, client: Client) -> None:
    maya, omar = client("maya"), client("omar")
    assert next(model.id for model in maya.models.list()) == "personaagent"
    answer = asked(maya, "A film for tonight?")
    assert answer.choices[0].message.content == "Watch a quiet film."
    assert answer.usage is not None and answer.usage.total_tokens > 0
    stream = maya.chat.completions.create(
        model="personaagent",
        messages=[{"role": "user", "content": "And tomorrow?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Watch a quiet film."
    assert chunks[-1].usage is not None
    name = answer.id.removeprefix("chatcmpl-")
    said = {"interaction_id": name, "correction": "A loud film."}
    learnt = maya.post("/feedback", cast_to=object, body=said)
    assert isinstance(learnt, dict) and learnt["learnt"] is True
    assert server.store.user("maya").interactions.get(name).ground_truth == "A loud film."
    with pytest.raises(openai.NotFoundError):
        omar.post("/feedback", cast_to=object, body=said)
    memory = omar.get("/memory", cast_to=object)
    assert isinstance(memory, dict) and memory["interactions"] == []


class Film(BaseModel):
    title: str
    people: list["Person"]


class Person(BaseModel):
    name: str


def test_it_parses_an_answer_in_the_form_of_a_model() -> None:
    said = {"title": "Sea", "people": [{"name": "Maya"}]}
    with serving(ScriptedLM({**ANSWERS, "response": said})) as server:
        token = server.key_of("maya")["Authorization"].removeprefix("Bearer ")
        client = openai.OpenAI(base_url=f"{server.client.base_url}/v1", api_key=token, max_retries=0)
        parsed = client.chat.completions.parse(
            model="personaagent", messages=[{"role": "user", "content": "A film?"}], response_format=Film
        )
    assert parsed.choices[0].message.parsed == Film.model_validate(said)


def test_its_errors_are_the_ones_that_it_knows(server: Server, client: Client) -> None:
    maya = client("maya")
    with pytest.raises(openai.NotFoundError, match="no such model"):
        maya.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(openai.BadRequestError, match="say something"):
        asked(maya, "  ")
    stranger = openai.OpenAI(base_url=f"{server.client.base_url}/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        asked(stranger, "hello")


def where(server: Server) -> dict[str, str]:
    token = server.key_of("maya")["Authorization"].removeprefix("Bearer ")
    return {"base_url": f"{server.client.base_url}/v1", "api_key": token}


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchain_asks_and_streams(server: Server) -> None:
    from langchain_openai import ChatOpenAI

    at = where(server)
    chat = ChatOpenAI(model="personaagent", base_url=at["base_url"], api_key=lambda: at["api_key"], max_retries=0)
    said = chat.invoke([("system", "Be brief."), ("human", "A film?")])
    assert said.text == "Watch a quiet film."
    assert "".join(chunk.text for chunk in chat.stream("And tomorrow?")) == "Watch a quiet film."
    assert [interaction.query for interaction in server.store.user("maya").interactions.all()] == [
        "A film?",
        "And tomorrow?",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_llama_index_asks_and_streams(server: Server) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    at = where(server)
    llm = OpenAILike(
        model="personaagent", api_base=at["base_url"], api_key=at["api_key"], is_chat_model=True, max_retries=0
    )
    assert llm.chat([ChatMessage(role="user", content="A film?")]).message.content == "Watch a quiet film."
    assert "".join(chunk.delta or "" for chunk in llm.stream_chat([ChatMessage(role="user", content="And?")])) == (
        "Watch a quiet film."
    )


@pytest.fixture
def allowing() -> Iterator[Server]:
    how = QUICK.model_copy(update={"origins": ("https://app.example.com",)})
    with serving(ScriptedLM(ANSWERS), how) as server:
        yield server


def preflight(server: Server, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return server.client.options("/v1/chat/completions", headers=headers)


def test_a_browser_is_let_in_from_the_origins_that_were_named(allowing: Server) -> None:
    allowed = preflight(allowing, "https://app.example.com")
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example.com")
    assert "access-control-allow-origin" not in preflight(allowing, "https://elsewhere.example.com").headers


def test_from_no_origin_by_default(server: Server) -> None:
    assert "access-control-allow-origin" not in preflight(server, "https://app.example.com").headers


@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")  # fastapi-swagger 0.4
def test_the_documentation_loads_nothing_from_elsewhere(server: Server) -> None:
    page = server.client.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text.replace(str(server.client.base_url), "")
    for path in ("/swagger/swagger-ui-bundle.js", "/swagger/swagger-ui.css", "/openapi.json"):
        assert server.client.get(path).status_code == 200
