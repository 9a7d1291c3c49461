"""An LM without what DSPy does around it: a request goes to the server, and the response comes back.

At each call DSPy's LM finds out anew which of its engines can send the request, and counts, prices and retries. Around
a journalled LM all that is done already; twice costs as much time as the journal itself.
"""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from urllib.request import getproxies
from weakref import WeakKeyDictionary

import dspy
from dspy._vendor.lm15.transports import StdlibTransport
from dspy.clients.backend_selection import BackendSelection, select_backend
from dspy.clients.engines.lm15_engine import AsyncLM15Engine, LM15Engine, timeouts_for
from dspy.clients.errors import error_boundary
from dspy.lm15 import LM15Error, Request, Response, RouterConfig, registered_providers
from dspy.utils.exceptions import LMUnsupportedFeatureError


class DirectLM:
    """Asks the server of an LM through the engine that DSPy would choose; where there is none, it asks the LM itself.

    Args:
        lm: The LM. It is asked without its cache and its retries.
    """

    def __init__(self, lm: dspy.LM) -> None:
        self._lm = lm.copy()
        self._lm.num_retries, self._lm.cache = 0, False
        self._selected = _selected(lm)
        self._config = self._selected and _config(self._selected)
        self._engine = self._config and LM15Engine(_direct_if_no_proxy(self._config), model_type=lm.model_type)
        self._engines: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLM15Engine] = WeakKeyDictionary()

    def __call__(self, request: Request) -> Response:
        """Return the response.

        Raises:
            dspy.LMError: There is none.
        """
        if self._engine is not None:
            try:
                with self._errors():
                    return self._engine.complete(request)
            except LMUnsupportedFeatureError:
                pass  # Nothing was sent: DSPy may know another way.
        lm: Any = self._lm
        with _unobserved():
            return lm(request)

    async def acall(self, request: Request) -> Response:
        """Do what a call does, awaited."""
        if self._config is not None:
            try:
                with self._errors():
                    return await self._engine_here(self._config).complete(request)
            except LMUnsupportedFeatureError:
                pass
        lm: Any = self._lm
        with _unobserved():
            return await lm.acall(request)

    def _engine_here(self, config: RouterConfig) -> AsyncLM15Engine:
        """Return the engine of the running event loop: its connections belong to the loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._engines:
            self._engines[loop] = AsyncLM15Engine(config, model_type=self._lm.model_type)
        return self._engines[loop]

    def _errors(self) -> AbstractContextManager[None]:
        provider = self._selected.resolution.provider if self._selected else None
        return error_boundary(self._lm.model, provider=provider, unexpected=True)


def _selected(lm: dspy.LM) -> BackendSelection | None:
    """Return what DSPy would choose for every request; None if that is not one of its own HTTP engines."""
    if type(lm) is not dspy.LM or not isinstance(lm.engine, str) or lm.callbacks:
        return None
    try:
        selected = select_backend(lm)
    except LM15Error:
        return None
    return selected if selected.native else None


def _config(selected: BackendSelection) -> RouterConfig:
    """Return the configuration that DSPy's LM gives the engine."""
    provider, clients = selected.resolution.provider, selected.clients
    url = clients.get("api_base") or clients.get("base_url")
    return RouterConfig(
        api_keys={provider: clients["api_key"]} if "api_key" in clients else None,
        base_urls={provider: url} if url else None,
        timeouts=timeouts_for(clients.get("timeout")),
        providers=tuple(one.definition for one in registered_providers()),
    )


def _direct_if_no_proxy(config: RouterConfig) -> RouterConfig:
    """Let the engine not look for a proxy at each call where the environment has none now: to look takes it 0.2 ms."""
    untyped: Any = config
    transport = StdlibTransport(**untyped.transport_kwargs(), trust_env=bool(getproxies()))
    return replace(config, timeouts=None, max_connections=None, transport=transport)


def _unobserved() -> AbstractContextManager[None]:
    """Let DSPy count, keep and stream the outer call alone."""
    return dspy.context(usage_tracker=None, disable_history=True, send_stream=None)
