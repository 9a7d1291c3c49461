"""Tools of MCP servers (https://modelcontextprotocol.io), as tools of an agent."""

import shlex
import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import dspy

from ...data.errors import InputError, SetupError, needing, without_secrets
from .own import own_tools, tools_named
from .toolbox import TOOL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from mcp import Client
    from mcp.types import Tool


@contextmanager
def mcp_tools(server: str) -> Generator[tuple[dspy.Tool, ...]]:
    """Connect to an MCP server, and give its tools while the block runs.

    Args:
        server: Its URL, or the command that starts it and speaks with it over standard input and output.

    Raises:
        InputError: It is neither.
        SetupError: The package `mcp` is not installed, or the server cannot be reached.

    Example:
        >>> with mcp_tools("http://127.0.0.1:8000/mcp") as tools, Home(tools=tools) as home:
        ...     home.agent(home.store.user("maya"))(query="When does the museum open?")
    """
    with needing("mcp"):
        from anyio.from_thread import start_blocking_portal
        from mcp import Client, StdioServerParameters, stdio_client
    words = shlex.split(server)
    if not words:
        raise InputError("an MCP server has no name: give its URL or the command that starts it")
    started = StdioServerParameters(command=words[0], args=words[1:])
    # What it says of itself goes where the process's own errors go, also from a notebook, whose stderr is no file.
    target = server if "://" in server else stdio_client(started, errlog=sys.__stderr__ or sys.stderr)
    with ExitStack() as open_now:
        try:
            portal = open_now.enter_context(start_blocking_portal())
            client = Client(target, read_timeout_seconds=TOOL_TIMEOUT_SECONDS)
            open_now.enter_context(portal.wrap_async_context_manager(client))
            tools = [_tool(client, tool, portal) for tool in portal.call(_listed, client)]
        except Exception as error:
            said = without_secrets(f"MCP server {server!r} cannot be reached: {type(_first(error)).__name__}")
            raise SetupError(f"{said}: give its URL, or the command that starts it") from error
        yield tuple(tools)


@contextmanager
def tools_opened(functions: Iterable[str], servers: Iterable[str]) -> Generator[tuple[dspy.Tool, ...]]:
    """Give functions by name and the tools of MCP servers while the block runs."""
    with ExitStack() as connected:
        named = tools_named(functions)
        of_servers = [tool for server in servers for tool in connected.enter_context(mcp_tools(server))]
        yield own_tools([*named, *of_servers])


async def _listed(client: "Client") -> "list[Tool]":
    listed = await client.list_tools()
    tools = [*listed.tools]
    while listed.next_cursor:
        listed = await client.list_tools(cursor=listed.next_cursor)
        tools += listed.tools
    return tools


def _tool(client: "Client", of_server: "Tool", portal: "BlockingPortal") -> dspy.Tool:
    """Return a tool that may be used in any thread: the connection lives in one of its own."""
    tool = dspy.Tool.from_mcp_tool(client, of_server)

    def use(**arguments: Any) -> Any:
        return portal.call(partial(tool.acall, **arguments))

    return dspy.Tool(use, tool.name, tool.desc, tool.args, tool.arg_types)


def _first(error: BaseException) -> BaseException:
    """Return what failed first, out of the groups that it came in."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
