"""What only some uses need may be missing; then the error says what to install."""

import sys

import pytest

from personaagent.data.errors import SetupError, needing
from personaagent.data.task import OPEN
from personaagent.programs.baselines.retrievers import Bm25Retriever


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rank_bm25", None)
    with pytest.raises(SetupError, match=r"needs the package rank_bm25: pip install 'personaagent\[report\]'"):
        Bm25Retriever([], OPEN)


def test_what_is_there_is_imported() -> None:
    with needing("report"):
        import rank_bm25
    assert rank_bm25
