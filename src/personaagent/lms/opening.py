"""An LM or an embedder by its name, and where an LM is asked, on which key."""

import asyncio
import hashlib
import logging
import math
import os
import re
from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..data.call import ANSWER_SECONDS, ANSWER_TOKENS, note_name
from ..data.errors import InputError, LMError, UnknownNameError, without_secrets
from .models import EMBEDDED_LMS, EMBEDDER, MODELS, Model, embedded_lm

if TYPE_CHECKING:
    import dspy
    import numpy as np
    from numpy.typing import NDArray

    from ..data.memory.embedder import Embedder

_REASONING_TOKENS = 16_000
"""The least that DSPy lets a reasoning model of OpenAI have, for thoughts and answer together."""

_key_variables: dict[str, str] = {}
"""By name of a declared server: the environment variable that holds its key."""

_log = logging.getLogger(__name__)


def open_lm(
    name: str = "embedded",
    *,
    api_base: str | None = None,
    temperature: float = 0.0,
    max_tokens: int = ANSWER_TOKENS,
    timeout: float = ANSWER_SECONDS,
    threads: int | None = None,
) -> "dspy.LM":
    """Return the LM of this name, with DSPy's cache off.

    Args:
        name: `embedded` is the best of the embedded models on disk, and `embedded/qwen2.5-coder-0.5b` is that one.
            Anything else is a name as DSPy knows it: `openai/gpt-4.1-mini`, `anthropic/...`, `ollama_chat/...`.
        api_base: URL of an OpenAI-compatible server that has the model: `http://localhost:8000/v1`. What stands before
            the first `/` of the name then only says where the key is: `openai/qwen3` takes `OPENAI_API_KEY`, if set.
        temperature: 0 is the likeliest answer.
        max_tokens: Most tokens of one answer.
        timeout: Seconds that a server may take for a whole answer; all attempts at one call take no longer than four
            times that. Outside of a run: seconds that it may be silent. The embedded LM has no such limit.
        threads: Threads of the embedded LM; see `LlamaEngine`.

    Raises:
        UnknownNameError: There is no such embedded model.
        InputError: The name, the URL or the timeout cannot be one.
        ModelFileError: A model file is missing, or is not what its hash says.

    Example:
        ```python
        with dspy.context(lm=open_lm("openai/qwen3", api_base="http://localhost:8000/v1")):
            agent(query="A film for tonight?")
        ```
    """
    if name.partition("/")[0] == "embedded":
        if api_base is not None:
            raise InputError(f"LM {name!r} runs in this process, not on a server: leave out the API base")
        return _embedded(_embedded_model(name), temperature, max_tokens, threads)
    if not 0 < timeout < math.inf:
        raise InputError(f"timeout {timeout!r}: give a number of seconds above 0")
    _use_bundled_prices()
    return _remote(_on_server(name, api_base) if api_base is not None else name, temperature, max_tokens, timeout)


def open_embedder(name: str = EMBEDDER) -> "Embedder":
    """Return the embedder of this name. Files are read, and servers asked, when the first vector is.

    Args:
        name: `minilm` runs in this process (English); `openai/text-embedding-3-small` and the like are asked through
            DSPy, with the key of the provider's usual variable.
    """
    if "/" in name:
        _use_bundled_prices()
        return DspyEmbedder(name)
    if name != EMBEDDER:
        raise UnknownNameError("embedder", name, [EMBEDDER, "openai/text-embedding-3-small and the like"])
    from ..data.memory.embedder import MiniLmEmbedder

    return MiniLmEmbedder(*MODELS[name].locations, bring=MODELS[name].bring)


def as_embedder(embedder: "Embedder | dspy.Embedder") -> "Embedder":
    """Return an embedder of one's own, which may be DSPy's, as an index takes it. A function is tried once."""
    import dspy

    if isinstance(embedder, dspy.Embedder):
        opened = DspyEmbedder(embedder)
        if not isinstance(embedder.model, str):
            _ = opened.dimensions
        return opened
    if not hasattr(type(embedder), "embed"):
        raise InputError(f"embedder {embedder!r} is none: give a dspy.Embedder, of a name or a function of texts")
    return embedder


class DspyEmbedder:
    """An embedder of DSPy's: one that is reached by name, through LiteLLM, or a function of one's own.

    Args:
        embedder: `provider/model`, which is asked without DSPy's cache, or the embedder.
    """

    def __init__(self, embedder: "str | dspy.Embedder") -> None:
        import dspy

        self._embedder = dspy.Embedder(embedder, caching=False) if isinstance(embedder, str) else embedder
        model: Any = self._embedder.model
        self._is_remote = isinstance(model, str)
        self.name = model if self._is_remote else getattr(model, "__qualname__", type(model).__qualname__)

    @property
    def dimensions(self) -> int:
        """Length of a vector, found out by asking for one."""
        return len(self._sample)

    @property
    def fingerprint(self) -> str:
        """The model and the length of its vectors; of a function, whose name says little, a vector too."""
        vector = "" if self._is_remote else f"-{hashlib.sha256(self._sample.round(2).tobytes()).hexdigest()[:8]}"
        return f"{self.name}-{self.dimensions}{vector}"

    @cached_property
    def _sample(self) -> "NDArray[np.float32]":
        return self.embed(["length"])[0]

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector per text, in order: shape (number of texts, dimensions), float32, each of length 1.

        Raises:
            InputError: A function of one's own returned something else.
            LMError: The provider could not be reached, or refused.
        """
        import numpy as np
        from openai import OpenAIError

        from .plain_lm import awaited

        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        written = [text or " " for text in texts]
        if not self._is_remote:
            return self._of_length_one(self._embedder(written, caching=False), len(texts))
        try:
            # DSPy's cache would keep what users wrote.
            asked = self._embedder.acall(written, caching=False)
            vectors = awaited(asyncio.wait_for(asked, ANSWER_SECONDS))
        except OpenAIError as error:
            raise LMError(without_secrets(f"embedder {self.name}: {error}")) from error
        except TimeoutError as error:
            raise LMError(f"embedder {self.name}: no whole answer within {ANSWER_SECONDS:g} s") from error
        return self._of_length_one(vectors, len(texts))

    def _of_length_one(self, vectors: "NDArray[np.float32]", texts: int) -> "NDArray[np.float32]":
        import numpy as np

        if vectors.ndim != 2 or len(vectors) != texts or not np.isfinite(vectors).all():
            raise InputError(
                f"embedder {self.name} made numbers of shape {vectors.shape} of {texts} texts: it must return a vector "
                "of finite numbers for each"
            )
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def endpoint_of(lm: "dspy.LM") -> str:
    """Return where an LM is asked: a URL, else its provider; the kind of its engine if it runs in this process."""
    if not isinstance(lm.engine, str):
        return type(lm.engine).__qualname__
    endpoint = str(lm.kwargs.get("api_base") or lm.kwargs.get("base_url") or lm.model.partition("/")[0])
    _refuse_credentials(endpoint)
    return endpoint


def key_of(lm: "dspy.LM") -> str:
    """Return the key that an LM has now; empty if none."""
    return str(lm.kwargs.get("api_key") or os.environ.get(_key_variable(lm.model), ""))


def with_its_key(lm: "dspy.LM") -> "dspy.LM":
    """Return a copy that keeps the key that the LM has now, whatever key the environment has later.

    Without it, DSPy reads the environment at the first call, and all copies of the LM hold on to what it finds then.
    """
    key = key_of(lm)
    return lm.copy(api_key=key) if key and isinstance(lm.engine, str) else lm.copy()


def _key_variable(model: str) -> str:
    provider = model.partition("/")[0]
    return _key_variables.get(provider) or re.sub(r"\W", "_", provider.upper()) + "_API_KEY"


def _use_bundled_prices() -> None:
    """Let DSPy and LiteLLM take prices from their own tables, which are the same in every run.

    Otherwise the first call downloads a newer table, and waits for it. A value that the user set stays.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def _embedded(model: Model, temperature: float, max_tokens: int, threads: int | None) -> "dspy.LM":
    from .embedded import shared_engine
    from .engines import lm_of

    [path] = model.paths()
    engine = shared_engine(path, threads=threads)
    return lm_of(engine, f"embedded/{model.name}", temperature=temperature, max_tokens=max_tokens)


def _embedded_model(name: str) -> Model:
    wanted = name.removeprefix("embedded").removeprefix("/")
    if wanted:
        if wanted not in EMBEDDED_LMS:
            raise UnknownNameError("embedded LM", wanted, list(EMBEDDED_LMS))
        return MODELS[wanted]
    best, found = EMBEDDED_LMS[0], embedded_lm()
    if found.name != best:
        _say_once(f"asking {found.name} ({found.role}); for the default run `personaagent models fetch {best}`")
    return found


@cache
def _say_once(message: str) -> None:
    _log.warning(message)


def _remote(name: str, temperature: float, max_tokens: int, timeout: float) -> "dspy.LM":
    import dspy

    try:
        return dspy.LM(name, temperature=temperature, max_tokens=max_tokens, timeout=timeout, cache=False)
    except dspy.LMConfigurationError:
        tokens = max(max_tokens, _REASONING_TOKENS)
        _log.info("%s reasons: its temperature is its own, and it may use %d tokens", name, tokens)
        return dspy.LM(name, max_tokens=tokens, timeout=timeout, cache=False)
    except ValueError as error:
        raise InputError(f"LM {name!r}: {error}") from error


def _on_server(name: str, api_base: str) -> str:
    """Declare the server to DSPy and return the model's name there.

    Under its usual name (`openai/...`) DSPy would send neither JSON schemas nor tools for a model that it does not
    know. Each server gets a name of its own, so that two of them never stand in for each other.
    """
    from .servers import declare_server

    provider, slash, model = name.partition("/")
    if not slash:
        provider, model = "openai", name
    if not model:
        raise InputError(f"LM {name!r} names no model: write openai/MODEL")
    variable = _key_variable(f"{provider}/{model}")
    key_variables = (variable,) if os.environ.get(variable) else ()
    url = _checked(api_base)
    server = _server_name(url, key_variables)
    _key_variables[server] = variable
    declare_server(server, url, key_variables)
    note_name(f"{server}/{model}", name)
    return f"{server}/{model}"


def _refuse_credentials(url: str) -> None:
    """Refuse a URL that holds a password: URLs are written down, keys are not."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise InputError("the API base holds credentials: put the key into the key variable of its provider instead")


def _checked(api_base: str) -> str:
    _refuse_credentials(api_base)
    parts = urlsplit(api_base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"API base {api_base!r} is not a URL: write one like http://localhost:8000/v1")
    return api_base.rstrip("/")


def _server_name(url: str, key_variables: tuple[str, ...]) -> str:
    address = re.sub(r"[^a-z0-9]+", "-", urlsplit(url).netloc.lower()).strip("-")
    digest = hashlib.sha256("\n".join([url, *key_variables]).encode()).hexdigest()[:6]
    return f"server-{address}-{digest}"
