"""What a test of a program needs: LMs and an embedder that are pure functions, and a store in memory."""

import hashlib
import re
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import dspy
from dspy.lm15 import DataPart, Request, TextPart, Usage
from pydantic_core import to_json

from .data.memory.chroma_index import EpisodeIndex
from .data.persona import estimated_tokens
from .data.store import Store
from .lms.engines import AsyncEngine, ImmediateEngine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Answering",
    "HashEmbedder",
    "RefusingLM",
    "Reply",
    "Script",
    "ScriptedLM",
    "ScriptedRequest",
    "UnscriptedCallError",
    "in_memory_store",
]

Reply: TypeAlias = str | Mapping[str, object] | Exception
"""What one call answers.

A `str` is sent as it is. A mapping of output fields is written in the form that the prompt asks for: a JSON object, or
ChatAdapter's headers. Where the prompt asks for a decision, a field may map answers to their probabilities, as in
`{"response": {"classic": 0.7, "comedy": 0.3}}`; answers that are left out have probability 0. An exception is raised as
if the LM's service had failed: `dspy.lm15.RateLimitError("busy")`.
"""

Answering: TypeAlias = Callable[["ScriptedRequest"], Reply | None]
"""A function of the request; None means "not scripted"."""

Script: TypeAlias = Mapping[str, object] | Sequence[Reply | Answering] | Answering
"""Answers by output field, answers in order, or one function of the request."""

_WORD = re.compile(r"\w+")
_FIRST_LINES = 12
_JSON_FIELDS = re.compile(r"(?:order of fields: |, then )`(\w+)`")
_CHAT_FIELDS = re.compile(r"`\[\[ ## (\w+) ## \]\]`")
_INPUT_FIELD = r"(?:^|\n\n)\[\[ ## {name} ## \]\]\n(.*?)(?=\n\n\[\[ ## \w+ ## \]\]\n|\n\nRespond with |\Z)"


class UnscriptedCallError(BaseException):
    """A test asked an LM something that it had not scripted.

    Not an `Exception`, so that no program takes it for a failing LM and carries on.
    """


@dataclass(frozen=True)
class ScriptedRequest:
    """One request as the LM got it."""

    request: Request
    """DSPy's own request, whole."""

    @cached_property
    def system(self) -> str:
        """The system prompt: fields, contract and persona."""
        system = self.request.system or ""
        if isinstance(system, str):
            return system
        return "".join(part.text for part in system if isinstance(part, TextPart))

    @cached_property
    def user(self) -> str:
        """The last message: the inputs of this call."""
        return self.request.messages[-1].text or ""

    @cached_property
    def text(self) -> str:
        """The whole prompt: system prompt, demos and inputs, one after the other."""
        return "\n\n".join([self.system, *(message.text or "" for message in self.request.messages)])

    @cached_property
    def outputs_wanted(self) -> tuple[str, ...]:
        """Names of the output fields that the prompt asks for, in the signature's order."""
        if schema := (self.request.config.response_format or {}).get("schema"):
            return tuple(cast("Mapping[str, Mapping[str, object]]", schema)["properties"])
        names = _JSON_FIELDS.findall(self.user) or _CHAT_FIELDS.findall(self.user)
        return tuple(name for name in names if name != "completed")

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """The answers that a decision may have, by output field; empty if the prompt does not ask for a decision."""
        if self.request.config.probabilities is None:
            return {}
        schema: Any = (self.request.config.response_format or {})["schema"]
        return {name: tuple(field["enum"]) for name, field in schema["properties"].items()}

    @property
    def wants_headers(self) -> bool:
        """Whether the answer must have ChatAdapter's headers, rather than be a JSON object."""
        return self.request.config.response_format is None and _CHAT_FIELDS.search(self.user) is not None

    def input(self, name: str) -> str:
        """Return the text of one input field of this call.

        Raises:
            KeyError: The prompt has no such input field.
        """
        if not (match := re.search(_INPUT_FIELD.format(name=re.escape(name)), self.user, re.DOTALL)):
            raise KeyError(name)
        return match.group(1)


class ScriptedLM(dspy.LM):
    """A real `dspy.LM` whose answers are written down: no model, no network, sync and async.

    It goes through DSPy's own adapters, so prompts are rendered and answers parsed as with any other LM. Token counts
    are estimates (four characters a token), the same for the same text.

    Args:
        script: Either a mapping from output field to answer, for programs of several modules: a call is answered if
            every field that it wants is there, and a value may be a function of the request. Or a sequence of answers,
            used up in order. Or one function of the request, which is best where calls run concurrently.
        model: The name that histories and reports show.

    Raises:
        UnscriptedCallError: (When called.) The script has no answer; the message shows the prompt's first lines.

    Example:
        ```python
        lm = ScriptedLM({"response": "Paris", "critique": lambda request: f"about {request.input('query')}"})
        with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
            assert dspy.Predict("query -> response")(query="Capital of France?").response == "Paris"
        assert lm.requests[0].input("query") == "Capital of France?"
        ```
    """

    def __init__(self, script: Script, *, model: str = "scripted/lm") -> None:
        self._engine = _Engine(_answering(script))
        awaited = AsyncEngine(self._engine)
        super().__init__(model, engine=self._engine, async_engine=awaited, cache=False, num_retries=0)

    @property
    def requests(self) -> tuple[ScriptedRequest, ...]:
        """Every request so far, in the order in which they came."""
        return tuple(self._engine.requests)


class RefusingLM(ScriptedLM):
    """An LM that no test may ask: any call raises `UnscriptedCallError` with advice.

    Set it where a test suite starts, so that no test reaches a model by accident:

    Example:
        ```python
        @pytest.fixture(autouse=True)
        def no_lm():
            with dspy.context(lm=RefusingLM()):
                yield
        ```
    """

    def __init__(self) -> None:
        super().__init__(_refuse, model="refusing/lm")


class _Engine(ImmediateEngine):
    """Answers by a function, and keeps a record of requests."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.requests: list[ScriptedRequest] = []

    def answer(self, request: Request) -> tuple[str | DataPart, Usage]:
        asked = ScriptedRequest(request)
        self.requests.append(asked)
        reply = self._answering(asked)
        answer = _decision(reply, asked) or _written(reply, asked)
        text = answer if isinstance(answer, str) else to_json(answer.value).decode()
        return answer, Usage(input_tokens=estimated_tokens(asked.text), output_tokens=estimated_tokens(text))


def _answering(script: Script) -> Answering:
    if isinstance(script, str):
        raise TypeError("ScriptedLM takes a mapping, a sequence of answers or a function: one answer is [answer]")
    if isinstance(script, Mapping):
        fields = cast("Mapping[str, object]", script)
        return lambda request: _by_field(fields, request)
    if isinstance(script, Sequence):
        return _in_order(cast("Sequence[Reply | Answering]", script))
    return script


def _by_field(script: Mapping[str, object], request: ScriptedRequest) -> Reply | None:
    wanted = request.outputs_wanted
    if not wanted or any(name not in script for name in wanted):
        return None
    answers = {name: script[name] for name in wanted}
    return {name: answer(request) if callable(answer) else answer for name, answer in answers.items()}


def _in_order(script: Sequence[Reply | Answering]) -> Answering:
    rest, lock = iter(script), threading.Lock()

    def answer(request: ScriptedRequest) -> Reply | None:
        with lock:
            reply = next(rest, None)
        return reply(request) if callable(reply) else reply

    return answer


def _decision(reply: Reply | None, request: ScriptedRequest) -> DataPart | None:
    """Return the reply as a decision, if it is the probabilities of each answer that the prompt allows."""
    if not isinstance(reply, Mapping):
        return None
    given = {name: reply.get(name) for name in request.choices}
    if not given or not all(isinstance(share, Mapping) for share in given.values()):
        return None
    found: dict[str, dict[str, float]] = {}
    for name, shares in cast("dict[str, Mapping[str, float]]", given).items():
        if unknown := shares.keys() - set(request.choices[name]):
            allowed = ", ".join(request.choices[name])
            raise UnscriptedCallError(f"the script gives {name} {sorted(unknown)}, and the prompt allows {allowed}")
        found[name] = {answer: shares.get(answer, 0.0) for answer in request.choices[name]}
    value: Any = {name: max(shares, key=shares.__getitem__) for name, shares in found.items()}
    return DataPart(value=value, probabilities=found, method="candidate_sequence_likelihood")


def _written(reply: Reply | None, request: ScriptedRequest) -> str:
    if reply is None:
        wanted = ", ".join(request.outputs_wanted) or "unknown"
        raise UnscriptedCallError(
            f"the script has no answer for this call, which wants the output fields: {wanted}. "
            f"Its prompt begins:\n{_first_lines(request)}"
        )
    if isinstance(reply, Exception):
        raise reply
    if isinstance(reply, str):
        return reply
    if not request.wants_headers:
        return to_json(reply).decode()
    fields = {name: value if isinstance(value, str) else to_json(value).decode() for name, value in reply.items()}
    return "\n\n".join([*(f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items()), "[[ ## completed ## ]]"])


def _refuse(request: ScriptedRequest) -> Reply | None:
    raise UnscriptedCallError(
        "a test asked an LM by accident. Give the code under test a ScriptedLM: "
        "`with dspy.context(lm=ScriptedLM({...})):`, or mark a test that may ask a real model as `live`. "
        f"The prompt begins:\n{_first_lines(request)}"
    )


def _first_lines(request: ScriptedRequest) -> str:
    lines = [line for line in f"{request.user}\n{request.system}".splitlines() if line.strip()]
    return "\n".join(f"    {line[:200]}" for line in lines[:_FIRST_LINES])


class HashEmbedder:
    """Each word points in a direction that its hash gives; a text is the sum of its words, brought to length 1.

    The same on every machine and in every process. It knows words, not meanings: `film` and `movie` are strangers.

    Args:
        dimensions: Length of a vector. Two words rarely share a direction from 64 on.
    """

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions = dimensions
        self.fingerprint = f"hash-words-{dimensions}"

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one vector per text, in order: shape (number of texts, dimensions), float32, each of length 1."""
        import numpy as np

        return np.array([self._vector(text) for text in texts], dtype=np.float32).reshape(-1, self.dimensions)

    def _vector(self, text: str) -> "NDArray[np.float64]":
        import numpy as np

        total = np.zeros(self.dimensions)
        for word in _WORD.findall(text.casefold()):
            digest = hashlib.sha256(word.encode()).digest()
            total[int.from_bytes(digest[:8], "big") % self.dimensions] += 1 if digest[-1] % 2 else -1
        if not total.any():  # no words, or words of opposite directions
            total[0] = 1
        return total / np.linalg.norm(total)


@contextmanager
def in_memory_store() -> Generator[Store]:
    """Open a store with an index of episodes, both in memory, for as long as the block runs.

    Episodes are found by the words that they share with a query (`HashEmbedder`).

    Example:
        ```python
        with in_memory_store() as store:
            user = store.add_user("maya")
            user.interactions.add([Interaction(interaction_id="1", query="A film?", ground_truth="noir")])
            assert user.memory.recall("film", k=1)[0].interaction.ground_truth == "noir"
        ```
    """
    with EpisodeIndex(None, HashEmbedder()) as index, Store.open("sqlite://", index=index) as store:
        yield store
