"""Chat requests as clients send them: tools, images, long chats, and chores of the client's own."""

from typing import Any

import pytest
from dspy.lm15 import ContextLengthError

from personaagent.programs.context import MOST_CHARACTERS
from personaagent.serving.completions import is_chore
from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, Server, serving

Turn = dict[str, Any]
FILM: Turn = {"role": "user", "content": "Which film fits?"}
ASKS_TOOL: Turn = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "tide", "arguments": '{"port": "Hull"}'}}],
}
POSTER: Turn = {
    "role": "user",
    "content": [
        {"type": "text", "text": "Who painted it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ],
}


def conversation(server: Server, *turns: Turn, **more: object) -> str:
    """Ask, and return what the LM was shown of the conversation."""
    body = {"model": "personaagent", "messages": turns, **more}
    answered = server.client.post("/v1/chat/completions", json=body, headers=server.key_of("maya"))
    assert answered.status_code == 200, answered.text
    asked = server.lm.requests[-1]
    return asked.input("conversation") if "[[ ## conversation ## ]]" in asked.user else ""


def queries(server: Server) -> list[str]:
    return [interaction.query for interaction in server.store.user("maya").interactions.all()]


@pytest.mark.parametrize(
    ("turns", "shown", "query"),
    [
        (
            [ASKS_TOOL, {"role": "tool", "tool_call_id": "a", "content": "high at six"}, FILM],
            'assistant:\n| [asked tide({"port": "Hull"})]\ntool:\n| high at six',
            "Which film fits?",
        ),
        (
            [FILM, ASKS_TOOL, {"role": "function", "name": "tide", "content": "high at six"}],
            'assistant:\n| [asked tide({"port": "Hull"})]\nfunction:\n| high at six',
            "Which film fits?",
        ),
        (
            [{"role": "assistant", "content": None, "refusal": "I would rather not."}, FILM],
            "assistant:\n| I would rather not.",
            "Which film fits?",
        ),
        ([POSTER, FILM], "user:\n| Who painted it?\n| [an image]", "Which film fits?"),
        ([POSTER], "", "Who painted it?"),
        ([{"role": "assistant", "content": None}, FILM], "", "Which film fits?"),
        ([{"role": "developer", "content": "Be brief."}, FILM], "developer:\n| Be brief.", "Which film fits?"),
    ],
)
def test_every_turn_that_openai_takes_is_context(server: Server, turns: list[Turn], shown: str, query: str) -> None:
    assert conversation(server, *turns) == shown
    assert queries(server) == [query]


def test_of_a_long_chat_the_newest_turns_and_the_system_message_are_shown(server: Server) -> None:
    turns = [{"role": "system", "content": "Be brief."}]
    for number in range(300):
        turns += [
            {"role": "user", "content": f"{number}: " + "harbour " * 40},
            {"role": "assistant", "content": "Yes."},
        ]
    shown = conversation(server, *turns, FILM)
    assert shown.startswith("system:\n| Be brief.")
    assert "299: harbour" in shown and "100: harbour" not in shown
    assert len(shown) < MOST_CHARACTERS + len(turns)


def test_what_is_longer_than_the_lm_reads_is_the_clients_error() -> None:
    with serving(ScriptedLM(lambda _: ContextLengthError("8192 tokens"))) as server:
        body = {"model": "personaagent", "messages": [FILM]}
        answered = server.client.post("/v1/chat/completions", json=body, headers=server.key_of("maya"))
    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "context_length_exceeded")


CHORES = (
    "### Task:\nSuggest three follow-up questions.\n### Chat History:\n<chat_history>\nUSER: A film?\n</chat_history>",
    "### Task:\nGenerate 1-3 broad tags.\n<chat_history>\nUSER: A film?\n</chat_history>",
    "Provide a concise, five-word title for the conversation, in title case.",
    "Create a short name for this chat.",
    "Summarize in one line:\nUser: a film?\nAssistant: Sea.",
)
QUESTIONS = (
    "What is the title of the film about a lighthouse?",
    "Which tag does this movie relate to among the following tags?",
    "Write a title for my novel about a harbour.",
    "Can you summarise the plot of the film?",
    "How do I start a conversation with a stranger?",
)


@pytest.mark.parametrize("query", CHORES)
def test_a_chore_of_the_client_is_answered_without_memory_and_not_remembered(server: Server, query: str) -> None:
    assert is_chore(query)
    server.store.add_user("maya")
    body = {"model": "personaagent", "messages": [{"role": "user", "content": query}]}
    answered = server.client.post("/v1/chat/completions", json=body, headers=server.key_of("maya")).json()
    assert answered["personaagent"]["remembered"] is False
    assert answered["choices"][0]["message"]["content"] == "Watch a quiet film."
    assert queries(server) == []


@pytest.mark.parametrize("query", QUESTIONS)
def test_a_question_of_the_user_is_no_chore(query: str) -> None:
    assert not is_chore(query)


def test_a_client_can_say_that_nothing_is_to_be_stored(server: Server) -> None:
    conversation(server, FILM, store=False)
    key = {**server.key_of("maya"), "X-PersonaAgent-Store": "false"}
    server.client.post("/v1/chat/completions", json={"model": "personaagent", "messages": [FILM]}, headers=key)
    assert queries(server) == []
    conversation(server, FILM, store=True)
    assert queries(server) == ["Which film fits?"]


def test_an_answer_has_the_form_that_the_client_wants() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "film", "schema": schema}}
    with serving(ScriptedLM({**ANSWERS, "response": {"title": "Sea"}})) as server:
        for response_format in (wanted, {"type": "json_object"}):
            conversation(server, FILM, response_format=response_format)
        assert [interaction.response for interaction in server.store.user("maya").interactions.all()] == [
            '{"title": "Sea"}'
        ] * 2


def test_feedback_takes_the_id_of_a_completion(server: Server) -> None:
    key = server.key_of("maya")
    body = {"model": "personaagent", "messages": [FILM]}
    name = server.client.post("/v1/chat/completions", json=body, headers=key).json()["id"]
    assert name.startswith("chatcmpl-")
    learnt = server.client.post("/v1/feedback", json={"interaction_id": name, "rating": "good"}, headers=key)
    assert learnt.json()["learnt"] is True


def test_several_interactions_are_stored_at_once_all_or_none(server: Server) -> None:
    key = server.key_of("maya")
    both = [{"query": f"film {number}?", "ground_truth": "noir", "id": str(number)} for number in range(2)]
    for expected in (2, 0):
        answered = server.client.post("/v1/interactions/batch", json={"interactions": both}, headers=key)
        assert (answered.status_code, answered.json()) == (201, {"stored": expected})
    wrong = [{"query": "new?", "id": "2"}, {"query": "x", "task": "LaMP-2M", "ground_truth": "no such tag"}]
    answered = server.client.post("/v1/interactions/batch", json={"interactions": wrong}, headers=key)
    assert answered.status_code == 422
    assert answered.json()["detail"].startswith("interactions.1.ground_truth: ")
    assert queries(server) == ["film 0?", "film 1?"]
