"""Long work shows how far it has come to someone who looks on, and nowhere else."""

import io

import pytest

from personaagent import progress
from personaagent.data.interaction import Interaction
from personaagent.data.lamp import LampData
from personaagent.evaluation import MajorityMethod, evaluate
from personaagent.optimizers import PersonaAlignment
from personaagent.optimizers.events import AlignmentEvent, Simulated
from personaagent.progress import Terminal, following


def looked_at(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> io.StringIO:
    """Return what is written to standard error, which is a terminal or a file."""
    written = io.StringIO()
    monkeypatch.setattr(progress, "err", Terminal(file=written, force_terminal=is_terminal, width=100))
    return written


async def test_an_evaluation_shows_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch, data: LampData) -> None:
    written = looked_at(monkeypatch, is_terminal=True)
    await evaluate([MajorityMethod()], data)
    assert "majority (0 calls, 0 tokens)" in written.getvalue()
    assert f"{len(data.questions)}/{len(data.questions)}" in written.getvalue()


async def test_nothing_is_shown_in_a_file_or_to_who_listens(monkeypatch: pytest.MonkeyPatch, data: LampData) -> None:
    written = looked_at(monkeypatch, is_terminal=False)
    await evaluate([MajorityMethod()], data)
    assert written.getvalue() == ""
    written = looked_at(monkeypatch, is_terminal=True)
    await evaluate([MajorityMethod()], data, listen=lambda _event: None)
    assert written.getvalue() == ""


def test_an_alignment_shows_its_steps_and_tells_its_own_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    written, told = looked_at(monkeypatch, is_terminal=True), list[AlignmentEvent]()
    optimizer = PersonaAlignment(n=3, listener=told.append)
    simulated = Simulated(Interaction(interaction_id="1", query="made up"), "made up")
    with following(optimizer, users=2) as followed:
        assert followed.listener is not None
        followed.listener(simulated)
    assert "1/8" in written.getvalue()
    assert told == [simulated]
    assert optimizer.listener == told.append
