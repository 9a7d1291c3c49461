"""A whole page of an invented Wikipedia."""

import dspy
import httpx
import pytest

from personaagent.programs.tools.toolbox import ToolFailure
from personaagent.programs.tools.wikipedia import API, wikipedia_page_tool

SIMILAR = [{"title": "First"}, {"title": "Second"}]


def tool(answer: httpx.Response, asked: list[httpx.Request] | None = None) -> dspy.Tool:
    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        return answer

    return wikipedia_page_tool(httpx.Client(transport=httpx.MockTransport(handle)))


def page(**fields: object) -> httpx.Response:
    return httpx.Response(200, json={"query": {"pages": [{"title": "First", **fields}], "search": SIMILAR}})


def test_it_asks_once_for_the_page_and_what_is_like_it() -> None:
    asked: list[httpx.Request] = []
    assert tool(page(extract="A made-up film.\n"), asked)(title="First|Second\n") == "A made-up film."
    [request] = asked
    assert str(request.url).startswith(API)
    assert request.url.params["titles"] == request.url.params["srsearch"] == "First Second"


@pytest.mark.parametrize("missing", [{"missing": True}, {"invalid": True}, {"extract": ""}])
def test_similar_titles_stand_in_for_a_page_that_is_not_there(missing: dict[str, object]) -> None:
    assert tool(page(**missing))(title="x") == "There is no such page. Similar: First; Second"


def test_nothing_at_all_is_an_answer() -> None:
    assert tool(httpx.Response(200, json={"query": {"search": []}}))(title="x") == "There is no such page."


def test_a_long_page_is_cut() -> None:
    assert len(tool(page(extract="x" * 60_000))(title="x")) == 50_000


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(503), "status 503"),
        (httpx.Response(200, json={"error": {"info": "rate limited"}}), "rate limited"),
    ],
)
def test_every_failure_is_one_sentence(answer: httpx.Response, reason: str) -> None:
    with pytest.raises(ToolFailure, match=reason):
        tool(answer)(title="x")
