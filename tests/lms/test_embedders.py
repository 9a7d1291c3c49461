"""An embedder by its name."""

import numpy as np
import pytest

from personaagent.data.errors import LMError, UnknownNameError
from personaagent.data.memory.embedder import MiniLmEmbedder
from personaagent.lms import open_embedder, opening

from ..loopback import Loopback, Reply


def test_opening_an_embedder_reads_no_file_and_asks_no_server() -> None:
    assert isinstance(open_embedder(), MiniLmEmbedder)
    open_embedder("openai/text-embedding-3-small")


def test_an_unknown_embedder_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="minilm"):
        open_embedder("word2vec")


@pytest.mark.slow
def test_a_providers_vectors_are_brought_to_length_one(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answering = lambda _: Reply(headers={"Connection": "close"})
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-key")
    embedder = open_embedder("openai/made-up-embedding")
    assert embedder.fingerprint == "openai/made-up-embedding-2"
    assert np.allclose(embedder.embed(["one", ""]), [[0.6, 0.8], [0.6, 0.8]])
    assert embedder.embed([]).shape == (0, 2)
    embedder.embed(["one"])
    assert len(server.received) == 3


@pytest.mark.slow
def test_a_provider_that_refuses_is_an_lm_error_without_the_key(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answering = lambda _: Reply(status=401, headers={"Connection": "close"})
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "status 401")
    with pytest.raises(LMError, match="made-up-embedding") as caught:
        open_embedder("openai/made-up-embedding").embed(["one"])
    assert "status 401" not in str(caught.value)


@pytest.mark.slow
def test_a_provider_that_drips_is_hung_up_on_at_the_deadline(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answering = lambda _: Reply(headers={"Connection": "close"})
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-key")
    embedder = open_embedder("openai/made-up-embedding")
    embedder.embed(["one"])
    monkeypatch.setattr(opening, "ANSWER_SECONDS", 0.5)
    server.answering = lambda _: Reply(drips_after=60)
    with pytest.raises(LMError, match=r"no whole answer within 0\.5 s"):
        embedder.embed(["two"])
    assert server.hung_up.wait(10)
