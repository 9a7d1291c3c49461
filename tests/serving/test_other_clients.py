"""Clients of OpenAI's API that others wrote, a browser on another origin, and the page of the API's documentation."""

from collections.abc import Iterator

import httpx
import pytest

from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, QUICK, Server, serving


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
    assert [one.query for one in server.store.user("maya").interactions.all()] == ["A film?", "And tomorrow?"]


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
