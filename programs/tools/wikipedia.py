"""Wikipedia as a tool: the MediaWiki API of one host, with time and size limits."""

from typing import Any

import dspy
import httpx

from ..quoting import quoted
from .toolbox import ToolFailure

API = "https://en.wikipedia.org/w/api.php"
_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_MAX_BYTES = 200_000
_USER_AGENT = "personaagent/0.1 (https://pypi.org/project/personaagent)"


def wikipedia_tool(client: httpx.Client | None = None) -> dspy.Tool:
    """Return the tool `search_wikipedia`.

    Args:
        client: The HTTP client to use; by default one that follows no redirects and keeps to the time limits.

    Example:
        >>> wikipedia_tool()(search="Metropolis film 1927")
        '1. "Metropolis (1927 film): Metropolis is a 1927 German ..."'
    """
    http = client or httpx.Client(timeout=_TIMEOUT, follow_redirects=False, headers={"User-Agent": _USER_AGENT})

    def search_wikipedia(search: str) -> str:
        """Look up facts about the world (a film, a book, a person, a place) in Wikipedia; it does not know the user."""
        pages = _pages(_get(http, search))
        return "\n".join(f"{number}. {quoted(page)}" for number, page in enumerate(pages, 1)) or "no page found"

    return dspy.Tool(search_wikipedia)


def _get(http: httpx.Client, search: str) -> object:
    """Ask for the introductions of the three best pages.

    Raises:
        ToolFailure: Wikipedia could not be reached, refused, or sent something that is not its API's JSON.
    """
    parameters: dict[str, str | int] = {
        "action": "query",
        "format": "json",
        "formatversion": 2,
        "generator": "search",
        "gsrsearch": search[:300],
        "gsrlimit": 3,
        "prop": "extracts",
        "exintro": 1,
        "explaintext": 1,
        "exsentences": 3,
    }
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
            raise ToolFailure(f"Wikipedia refused the search: {info[:100]}")
        case _:
            return []
