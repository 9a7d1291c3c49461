"""OpenAI's own client, unchanged."""

from collections.abc import Callable

import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, Server, serving

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
