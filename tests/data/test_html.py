"""How nouns look in a notebook. Every text is made up."""

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from personaagent.blame import Blame, Blamed, Cause
from personaagent.data.alignment import Alignment, Iteration, Spend, TextualLoss
from personaagent.data.answer_weights import AnswerWeights
from personaagent.data.change import Change, Decision, Evidence
from personaagent.data.persona import Adopted, Persona, PersonaLine, PersonaVersion, persona_diff
from personaagent.evaluation.summary import summarise

from ..evaluation.report import made_up

HOSTILE = "<img src=x onerror=alert(1)> & \"quotes' <script>alert(2)</script>"
LINE = PersonaLine(section="profile", text=HOSTILE, causes=("1",), kind="said")
RULE = PersonaLine(section="style", text=HOSTILE, causes=("1", "2"), kind="rule")
WEIGHTS = AnswerWeights(
    lm=HOSTILE, task="open", form="lean", leaning={"a": 1.0}, base_rate={"a": 1.0}, a=2.0, b=1.0, c=0.5, users=7
)
ADOPTED = Adopted(origin=HOSTILE, task="open", preset="lean", predictors={HOSTILE: {}})
PERSONA = Persona(lines=(LINE, RULE), weights=WEIGHTS, adopted=ADOPTED)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
EVIDENCE = Evidence(n=3, mean=0.25, wealth=2.5)


def alignment(*decisions: Decision, losses: tuple[TextualLoss, ...] = ()) -> Alignment:
    return Alignment(
        alignment_id="made-up",
        settings={},
        base_version=None,
        base=Persona(),
        iterations=(Iteration(losses=losses, candidate=PERSONA, accepted=True, reason=HOSTILE),),
        decisions=decisions,
        spend=Spend(calls=5, prompt_tokens=900, completion_tokens=14, seconds=36.2),
        started_at=NOW,
        stopped=HOSTILE,
    )


DECISION = Decision(
    change=Change(kind="rule", action="add", line=RULE), outcome="shadow", evidence=EVIDENCE, reason=HOSTILE
)
WEIGHED = Decision(
    change=Change(kind="weights", action="weights", weights=WEIGHTS),
    outcome="live",
    evidence=EVIDENCE,
    reason="made up",
)
LOSS = TextualLoss(interaction_id="1", query=HOSTILE, response=None, ground_truth=HOSTILE, critique=HOSTILE)
ROW = made_up.row(made_up.FILMS, "rag", made_up.USERS[0], 0).model_copy(update={"method": HOSTILE})
BLAMED = Blamed(
    kind="rule",
    text=HOSTILE,
    state="live",
    because="1 interaction",
    causes=(Cause(interaction_id="1", at=NOW, words=HOSTILE), Cause(interaction_id="2")),
    evidence=EVIDENCE,
)
TAGS = {"div", "p", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "details", "summary", "ul", "li"}
TAGS |= {"ins", "del"}
SHOWN = {
    "persona": PERSONA,
    "version": PersonaVersion(number=1, persona=PERSONA, status="live", reason=HOSTILE, at=NOW),
    "diff": persona_diff(Persona(), PERSONA),
    "alignment": alignment(DECISION, losses=(LOSS,)),
    "blame": Blame([BLAMED]),
    "evaluation": summarise(made_up.FILMS, [ROW]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_users_and_lms_wrote_is_text_in_a_notebook(name: str) -> None:
    page = ET.fromstring(f"<div>{SHOWN[name]._repr_html_()}</div>")  # noqa: S314 - it is what we wrote ourselves
    assert {each.tag for each in page.iter()} <= TAGS
    assert HOSTILE in "".join(page.itertext())
    assert {name for each in page.iter() for name in each.attrib} <= {"style"}


def test_a_persona_shows_its_lines_by_section_and_its_weights_as_bars() -> None:
    shown = PERSONA._repr_html_()
    assert shown.index("Who the user is:") < shown.index("what the user said") < shown.index("How to answer this user:")
    assert "2 interactions" in shown
    widths = [part.partition("em")[0] for part in shown.split("width: ")[1:]]
    assert widths == ["3.00", "1.50", "0.75"]
    assert "says nothing about the user yet" in Persona()._repr_html_()


def test_an_alignment_shows_each_change_what_became_of_it_and_why() -> None:
    shown = alignment(DECISION, WEIGHED)._repr_html_()
    assert shown.index(">shadow<") < shown.index("answer weights: LM 2, habits 1, memory 0.5") < shown.index(">live<")
    assert "5 calls, 914 tokens, 36 s" in shown
    assert "Textual losses" not in shown
    assert "No change was proposed" in alignment()._repr_html_()


def test_personas_that_read_the_same_have_no_diff() -> None:
    diff = persona_diff(PERSONA, PERSONA)
    assert diff == ""
    assert "They read the same" in diff._repr_html_()


def test_blame_shows_the_causes_behind_a_fold() -> None:
    shown = Blame([BLAMED])._repr_html_()
    assert "<summary>1 interaction</summary>" in shown
    assert "2026-03-02" in shown
    assert "(undated)  (forgotten)" in shown
    assert "scored 3 times, mean difference +0.250, wealth 2.50" in shown
