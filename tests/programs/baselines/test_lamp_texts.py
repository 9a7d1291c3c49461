"""How LaMP shows and searches items. All texts are invented."""

import pytest

from personaagent.data.interaction import Interaction
from personaagent.data.lamp import task_named
from personaagent.data.task import OPEN, Task
from personaagent.programs.baselines.lamp_texts import indexed_text, search_text, shown_items


def item(task: Task, text: str, ground_truth: str | None = None, title: str = "") -> Interaction:
    query = task.query(text) if ground_truth else text
    metadata = {"title": title} if title else {}
    return Interaction(
        interaction_id="1",
        query=query,
        ground_truth=ground_truth,
        task=task.name,
        metadata=metadata,  # type: ignore[arg-type]
    )


def test_citations_are_searched_by_the_two_candidates_whatever_they_quote() -> None:
    query = (
        'For an author who has written the paper with the title "On "knots"", which reference is related? Just answer '
        'with [1] or [2] without explanation. [1]: "A "loop" theory" [2]: "Sheep"'
    )
    assert search_text(query, task_named("LaMP-1")) == 'A "loop" theory Sheep'


@pytest.mark.parametrize("task", ["LaMP-2M", "LaMP-2N", "LaMP-3", "LaMP-4", "LaMP-5", "LaMP-6", "LaMP-7"])
def test_other_queries_are_searched_by_their_content(task: str) -> None:
    asked = task_named(task)
    assert search_text(asked.query("Goats won: again."), asked) == "Goats won: again."
    assert search_text("x no template", asked) == "x no template"


@pytest.mark.parametrize(
    ("task", "ground_truth", "title", "indexed"),
    [
        ("LaMP-2M", "classic", "", "Goats won."),
        ("LaMP-2N", "sports", "Goat news", "Goat news Goats won."),
        ("LaMP-3", "5", "", "Goats won."),
        ("LaMP-4", "Goat news", "", "Goat news Goats won."),
        ("LaMP-5", "On goats", "", "On goats Goats won."),
        ("LaMP-6", "Goats!", "", "Goats won."),
        ("LaMP-7", None, "", "Goats won."),
    ],
)
def test_labels_are_never_indexed_and_titles_as_lamp_does(
    task: str, ground_truth: str | None, title: str, indexed: str
) -> None:
    asked = task_named(task)
    assert indexed_text(item(asked, "Goats won.", ground_truth, title), asked) == indexed


@pytest.mark.parametrize(
    ("task", "ground_truth", "title", "shown"),
    [
        ("LaMP-1", None, "On goats", '"On goats"'),
        ("LaMP-2M", "classic", "", 'the tag for the movie: "Goats won." is "classic"'),
        ("LaMP-2N", "sports", "Goat news", 'the category for the article: "Goats won." is "sports"'),
        ("LaMP-3", "5", "", '5 is the score for "Goats won."'),
        ("LaMP-4", "Goat news", "", '"Goat news" is the title for "Goats won."'),
        ("LaMP-5", "On goats", "", '"On goats" is a title for "Goats won."'),
        ("LaMP-6", "Goats!", "", '"Goats!" is the title for "Goats won."'),
        ("LaMP-7", None, "", '"Goats won."'),
        ("open", "Yes.", "", 'for "Goats won." the user answered "Yes."'),
    ],
)
def test_items_are_shown_as_lamp_shows_them(task: str, ground_truth: str | None, title: str, shown: str) -> None:
    asked = task_named(task)
    assert shown_items([item(asked, "Goats won.", ground_truth, title)], asked) == shown


def test_items_are_joined_and_quotes_in_them_cannot_end_the_quotation() -> None:
    reviews = task_named("LaMP-3")
    items = [item(reviews, 'It said "stop".', "1"), item(reviews, "Fine {text}", "4")]
    assert (
        shown_items(items, reviews) == r'1 is the score for "It said \"stop\".", and 4 is the score for "Fine {text}"'
    )


def test_nothing_found_is_said() -> None:
    assert shown_items([], OPEN) == "(nothing)"
