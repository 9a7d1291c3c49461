"""How a made-up user's past becomes a memory bank, and what is answered from it."""

from datetime import UTC, datetime, timedelta

import dspy
import pytest

from personaagent.data.errors import AnswerError, InputError, LMError
from personaagent.data.interaction import Interaction
from personaagent.data.task import Task
from personaagent.programs.baselines.membank import BuildMemoryBank, MemBank, MemoryBank, Piece
from personaagent.testing import HashEmbedder, Reply, ScriptedLM, ScriptedRequest

TASK = Task(name="LaMP-2M", kind="label", labels=("comedy", "classic"), template="Which tag? {content}")
QUERY = TASK.query("A keeper paints the sea")
EMBEDDER = HashEmbedder()
PLOTS = ("A keeper counts ships", "Bakers swap shops", "Bees swap hives", "A keeper counts bees", "A clock stops")


def history(*plots: str, day_of: tuple[int, ...] | None = None) -> list[Interaction]:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        Interaction(
            interaction_id=str(number),
            query=TASK.query(plot),
            ground_truth="classic",
            at=first + timedelta(days=day_of[number]) if day_of else None,
            position=number,
            task=TASK.name,
        )
        for number, plot in enumerate(plots)
    ]


def summarise(request: ScriptedRequest) -> Reply:
    kind = "mind" if "what one user is like" in request.system else "deed"
    return {"summary": f"{kind} of {request.input('record')}"}


def build(past: list[Interaction], lm: ScriptedLM | None = None, **settings: object) -> MemoryBank:
    with dspy.context(lm=lm or ScriptedLM({"summary": "A day."})):
        return BuildMemoryBank(TASK, EMBEDDER, **settings)(history=past).bank  # type: ignore[arg-type]


def test_each_day_is_summarised_twice_and_then_the_whole() -> None:
    lm = ScriptedLM(summarise)
    bank = build(history(*PLOTS[:3], day_of=(0, 0, 2)), lm, forgetting=None)
    first, _, second = (request.input("record") for request in lm.requests[:3])
    assert first == (
        '1. "A keeper counts ships" -> the user answered "classic"\n'
        '2. "Bakers swap shops" -> the user answered "classic"'
    )
    assert second == '1. "Bees swap hives" -> the user answered "classic"'
    assert lm.requests[4].input("record").count("deed of") == 2
    assert lm.requests[5].input("record").count("mind of") == 2
    assert len(lm.requests) == 6
    assert bank.events.startswith("deed of") and bank.personality.startswith("mind of")


def test_turns_and_summaries_of_events_are_remembered() -> None:
    bank = build(history(*PLOTS[:3], day_of=(0, 0, 2)), ScriptedLM(summarise), forgetting=None)
    assert [piece.text.split()[0] for piece in bank.pieces] == ["A", "Bakers", "Bees", "deed", "deed"]
    assert bank.pieces[1].text == "Bakers swap shops classic"
    assert bank.pieces[1].shown == 'the tag for the movie: "Bakers swap shops" is "classic"'
    assert bank.pieces[2].day - bank.pieces[0].day == 2
    assert bank.pieces[3].day == bank.pieces[0].day


def test_only_the_latest_days_are_summarised_but_all_turns_are_remembered() -> None:
    lm = ScriptedLM({"summary": "A day."})
    bank = build(history(*PLOTS), lm, days=2, forgetting=None)
    assert len(lm.requests) == 2 * 2 + 2
    assert len(bank.pieces) == len(PLOTS) + 2
    assert '"A keeper counts bees"' in lm.requests[0].input("record")


def test_by_default_a_long_history_costs_18_calls() -> None:
    lm = ScriptedLM({"summary": "A day."})
    build(history(*(f"Film {number}" for number in range(30))), lm)
    assert len(lm.requests) == 18


def test_of_a_long_day_the_latest_turns_are_summarised() -> None:
    lm = ScriptedLM({"summary": "A day."})
    bank = build(history(*(f"Film {number}" for number in range(60)), day_of=(0,) * 60), lm)
    lines = lm.requests[0].input("record").splitlines()
    assert (lines[0].split('"')[1], len(lines)) == ("Film 20", 40)
    assert len(bank.pieces) == 61


def test_a_turn_recalls_what_it_is_like() -> None:
    bank = build(history(*PLOTS[:4]), days=1, k=1, forgetting=None)
    strengths = {piece.text: (piece.strength, piece.recalled_on) for piece in bank.pieces[:4]}
    assert strengths["A keeper counts ships classic"] == (3, 3)  # by the second turn, which had no choice, and the last
    assert strengths["Bakers swap shops classic"] == (2, 2)
    assert strengths["A keeper counts bees classic"] == (1, None)


def test_with_time_the_bank_forgets_by_its_law_and_seed() -> None:
    past = history(*(f"Film {number}" for number in range(40)))
    whole, published, corrected = (build(past, forgetting=law) for law in (None, "published", "corrected"))
    assert set(published.pieces) < set(corrected.pieces) < set(whole.pieces)
    assert whole.pieces[39] in published.pieces
    assert build(past) == published
    assert build(past, seed=1) != published


def test_a_day_whose_summary_cannot_be_read_has_none() -> None:
    def unreadable_once(request: ScriptedRequest) -> Reply:
        return '{"summary": "A d' if "Bakers" in request.input("record") else {"summary": "A day."}

    lm = ScriptedLM(unreadable_once)
    bank = build(history(*PLOTS[:3]), lm, forgetting=None)
    assert [piece.day for piece in bank.pieces] == [0, 1, 2, 0, 2]
    assert lm.requests[-1].input("record") == '"A day."\n"A day."'
    assert bank.events == "A day."


def test_an_lm_that_fails_builds_no_bank() -> None:
    with pytest.raises(LMError):
        build(history(*PLOTS), ScriptedLM(lambda _: dspy.lm15.ServerError("down")))


async def test_async_builds_the_same_bank() -> None:
    past, builder = history(*PLOTS), BuildMemoryBank(TASK, EMBEDDER)
    with dspy.context(lm=ScriptedLM(summarise)):
        sync, concurrent = builder(history=past), await builder.acall(history=past)
    assert sync.bank == concurrent.bank
    assert sync.spend.calls == concurrent.spend.calls == 12


@pytest.fixture
def bank() -> MemoryBank:
    pieces = tuple(Piece(text=plot, shown=f'"{plot}"', day=day) for day, plot in enumerate(PLOTS))
    return MemoryBank(events="Bought\na boat.", personality="", pieces=pieces)


def test_the_answer_is_given_from_summaries_and_the_nearest_pieces(bank: MemoryBank) -> None:
    lm = ScriptedLM({"response": "classic"})
    with dspy.context(lm=lm):
        answered = MemBank(TASK, bank, EMBEDDER, k=2)(query=TASK.query("A keeper counts bees"))
    assert (answered.response, answered.spend.calls) == ("classic", 1)
    assert answered.pieces == (bank.pieces[3], bank.pieces[0])
    [request] = lm.requests
    assert request.input("interactions") == (
        "summary of the user's past:\n| Bought\n| a boat.\nthe user's personality:\n| nothing\n"
        'memories near to the query:\n1. "A keeper counts bees"\n2. "A keeper counts ships"'
    )
    assert request.input("observations") == "(nothing)"


async def test_answering_changes_nothing_so_the_order_of_questions_does_not_matter(bank: MemoryBank) -> None:
    program, before = MemBank(TASK, bank, EMBEDDER), bank.to_json()
    lm = ScriptedLM({"response": "classic"})
    with dspy.context(lm=lm):
        first = program(query=QUERY)
        program(query=TASK.query("Bees"))
        again = await program.acall(query=QUERY)
    assert first.pieces == again.pieces
    assert lm.requests[0].text == lm.requests[2].text
    assert program.bank.to_json() == before


def test_six_pieces_are_the_default_and_an_empty_bank_has_none() -> None:
    many = MemoryBank(
        events="", personality="", pieces=tuple(Piece(text=f"p{n}", shown=f"p{n}", day=n) for n in range(9))
    )
    with dspy.context(lm=ScriptedLM({"response": "classic"})):
        assert len(MemBank(TASK, many, EMBEDDER)(query=QUERY).pieces) == 6
        assert MemBank(TASK, many.model_copy(update={"pieces": ()}), EMBEDDER)(query=QUERY).pieces == ()


def test_the_answer_is_held_to_the_task(bank: MemoryBank) -> None:
    with dspy.context(lm=ScriptedLM(lambda _: {"response": "horror"})), pytest.raises(AnswerError):
        MemBank(TASK, bank, EMBEDDER)(query=QUERY)


def test_settings_that_make_no_sense_are_refused(bank: MemoryBank) -> None:
    with pytest.raises(InputError, match="days is 0"):
        BuildMemoryBank(TASK, EMBEDDER, days=0)
    with pytest.raises(InputError, match="this user has none"):
        build([])
    with pytest.raises(InputError, match="k is 0"):
        MemBank(TASK, bank, EMBEDDER, k=0)
