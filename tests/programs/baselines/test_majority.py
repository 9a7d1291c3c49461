import pytest

from personaagent.data.errors import InputError
from personaagent.data.interaction import Interaction
from personaagent.programs.baselines.voting import Majority


def history(*answers: str | None) -> list[Interaction]:
    """A made-up history with these ground truths, oldest first."""
    return [
        Interaction(interaction_id=str(number), query="made up", ground_truth=answer, position=number)
        for number, answer in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("answers", "response"),
    [
        (("classic", "comedy", "comedy"), "comedy"),
        (("classic", "comedy", "comedy", "classic"), "classic"),
        (("comedy", "classic", "classic", "comedy"), "comedy"),
        (("4", "5", "5"), "5"),
        ((None, None, "action"), "action"),
    ],
    ids=["most frequent", "tie", "tie the other way round", "rating", "without ground truth"],
)
def test_the_most_frequent_answer_wins_and_of_equals_the_one_seen_first(
    answers: tuple[str | None, ...], response: str
) -> None:
    assert Majority(history(*answers))(query="anything").response == response


async def test_it_is_called_like_any_program_and_spends_nothing() -> None:
    answered = await Majority(history("classic")).acall(query="anything")
    assert answered.response == "classic"
    assert answered.spend.calls == 0


@pytest.mark.parametrize("answers", [(), (None, None)])
def test_a_history_without_ground_truths_is_refused(answers: tuple[None, ...]) -> None:
    with pytest.raises(InputError, match="no interaction of this user has one"):
        Majority(history(*answers))
