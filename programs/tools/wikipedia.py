"""Wikipedia as a tool: the MediaWiki API of one host, with time and size limits."""

from functools import cache
from typing import Any

import dspy
import httpx

from ..quoting import quoted
from .toolbox import ToolFailure

API = "https://en.wikipedia.org/w/api.php"
_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_MAX_BYTES = 200_000
_MAX_PAGE_CHARACTERS = 50_000
_USER_AGENT = "personaagent/0.1 (https://pypi.org/project/personaagent)"


def wikipedia_tool(client: httpx.Client | None = None) -> dspy.Tool:
    """Return the tool `search_wikipedia`."""

    def search_wikipedia(search: str) -> str:
        """Look up facts about the world (a film, a book, a person, a place) in Wikipedia; it does not know the user."""
        pages = _pages(_get(client or _client(), _introductions(search)))
        return "\n".join(f"{number}. {quoted(page)}" for number, page in enumerate(pages, 1)) or "no page found"

    return dspy.Tool(search_wikipedia)


def wikipedia_page_tool(client: httpx.Client | None = None) -> dspy.Tool:
    """Return the tool `read_wikipedia`: a whole page as plain text, its first 50,000 characters."""

    def read_wikipedia(title: str) -> str:
        """Read the Wikipedia page of this title; if there is none, the titles of up to five similar pages."""
        return _page(_get(client or _client(), _page_and_similar(title)))[:_MAX_PAGE_CHARACTERS]

    return dspy.Tool(read_wikipedia)


@cache
def _client() -> httpx.Client:
    """Return the client that all tools share: each has a store of certificates of its own, 1 MB and 70 ms to read."""
    return httpx.Client(timeout=_TIMEOUT, follow_redirects=False, headers={"User-Agent": _USER_AGENT})


def _introductions(search: str) -> dict[str, str | int]:
    return {
        "generator": "search",
        "gsrsearch": search[:300],
        "gsrlimit": 3,
        "prop": "extracts",
        "exintro": 1,
        "explaintext": 1,
        "exsentences": 3,
    }


def _page_and_similar(title: str) -> dict[str, str | int]:
    """Ask for one whole page, and in case that there is none, for what a search finds."""
    one_title = " ".join(title.replace("|", " ").split())[:250]  # a bar would separate several
    return {
        "titles": one_title,
        "redirects": 1,
        "prop": "extracts",
        "explaintext": 1,
        "exlimit": 1,
        "list": "search",
        "srsearch": one_title,
        "srlimit": 5,
        "srprop": "",
    }


def _get(http: httpx.Client, query: dict[str, str | int]) -> object:
    parameters = {"action": "query", "format": "json", "formatversion": 2, **query}
    try:
        with http.stream("GET", API, params=parameters) as response:
            if not response.is_success:
                raise ToolFailure(f"Wikipedia answered with status {response.status_code}")
            body = b""
            for block in response.iter_bytes():
                body += block
                if len(body) > _MAX_BYTES:
                    raise ToolFailure("Wikipedia's answer is too long")
        return httpx.Response(200, content=body).json()
    except httpx.HTTPError as error:
        raise ToolFailure("Wikipedia could not be reached") from error
    except ValueError as error:
        raise ToolFailure("Wikipedia's answer is not JSON") from error


def _pages(answer: Any) -> list[str]:
    match answer:
        case {"query": {"pages": [*pages]}}:
            ordered = sorted(pages, key=lambda page: page.get("index", 0))
            return [f"{page.get('title', '')}: {page.get('extract', '')}" for page in ordered]
        case {"error": {"info": str(info)}}:
            raise _refused(info)
        case _:
            return []


def _page(answer: Any) -> str:
    match answer:
        case {"query": {"pages": [{"extract": str(extract)}]}} if extract.strip():
            return extract.strip()
        case {"query": {"search": [_, *_] as found}}:
            return "There is no such page. Similar: " + "; ".join(str(page.get("title", "")) for page in found)
        case {"error": {"info": str(info)}}:
            raise _refused(info)
        case _:
            return "There is no such page."


def _refused(info: str) -> ToolFailure:
    return ToolFailure(f"Wikipedia refused the search: {info[:100]}")
