"""What every test may rely on: no network, no LM by accident, and DSPy's settings as they were."""

import copy
import os
import sys
from collections.abc import Iterator

os.environ |= {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

import pytest

from .chroma import chroma_server, chroma_url  # noqa: F401
from .mlflow_tables import copy_tables_from_now_on
from .postgres import new_url, postgres, url  # noqa: F401

_LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")  # noqa: S104


class NetworkBlockedError(AssertionError):
    """A test reached for the network. Not an `OSError`, so that no code takes it for being offline and carries on."""


def pytest_runtest_setup() -> None:
    copy_tables_from_now_on()


def _block_network(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else None  # a Unix socket's address is its path
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not str(host).startswith(_LOOPBACK):
        raise NetworkBlockedError(f"a test reached for {host}: pass in a transport that answers instead")


sys.addaudithook(_block_network)


@pytest.fixture(autouse=True)
def _dspy_refuses_and_forgets() -> Iterator[None]:
    """Give DSPy an LM that refuses every call and no cache; put its settings back after the test.

    What servers refused is forgotten: a server of another test may have had the same port.
    """
    import dspy
    from dspy.dsp.utils.settings import DEFAULT_CONFIG

    from personaagent.programs import refusals
    from personaagent.testing import RefusingLM

    refusals.forget_refusals()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    dspy.configure(**{**copy.deepcopy(DEFAULT_CONFIG), "lm": RefusingLM()})
    yield
    dspy.configure(**copy.deepcopy(DEFAULT_CONFIG))
