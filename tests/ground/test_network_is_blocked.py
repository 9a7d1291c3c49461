"""No test reaches a network, by name or by address; this machine's own servers are within reach."""

import socket

import dspy
import httpx
import pytest


@pytest.mark.parametrize("url", ["http://example.org", "http://192.0.2.1"])
def test_a_request_to_the_outside_fails_loudly(url: str) -> None:
    with pytest.raises(AssertionError, match="a test reached for"):
        httpx.get(url)


def test_loopback_is_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_no_lm_is_asked_by_accident() -> None:
    with pytest.raises(BaseException, match="asked an LM by accident"):
        dspy.Predict("query -> response")(query="Who wrote it?")
