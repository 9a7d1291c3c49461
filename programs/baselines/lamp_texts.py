"""LaMP's own retrieval-augmented prompting: what is searched for, what is searched in, how an item is shown.

Source: LaMP-Benchmark/LaMP, LaMP/prompts/prompts.py at de78cdb3 ("in-prompt augmentation"), re-implemented. Two things
differ: an item is cut like everything that we quote, to `MAX_QUOTED_WORDS` words, where LaMP shares 512 tokens among
the items; and the items are a field of their own beside the query, where LaMP writes all into one line.
"""

import re
from collections.abc import Iterable

from ...data.interaction import Interaction
from ...data.task import Task
from ..quoting import quoted, quoted_texts

_CANDIDATES = re.compile(r'\[1\]: "(.*)" \[2\]: "(.*)"', re.DOTALL)
_ITEM_TEMPLATES = {
    "LaMP-2M": "the tag for the movie: {text} is {answer}",
    "LaMP-2N": "the category for the article: {text} is {answer}",
    "LaMP-3": "{answer} is the score for {text}",
    "LaMP-4": "{answer} is the title for {text}",
    "LaMP-5": "{answer} is a title for {text}",
    "LaMP-6": "{answer} is the title for {text}",
}
_OTHER_TEMPLATE = "for {text} the user answered {answer}"
_TITLES_INDEXED = {"LaMP-2N", "LaMP-4", "LaMP-5"}


def search_text(query: str, task: Task) -> str:
    """Return what to search a history for: the content of the query; of LaMP-1, the two candidate titles."""
    if task.name == "LaMP-1" and (candidates := candidate_titles(query)):
        return " ".join(candidates)
    return task.content(query)


def candidate_titles(query: str) -> tuple[str, ...]:
    """Return the two titles that a query of LaMP-1 asks to choose from, [1] first; none of a query of another form."""
    found = _CANDIDATES.search(query)
    return found.groups() if found else ()


def indexed_text(interaction: Interaction, task: Task) -> str:
    """Return the text by which an interaction is found, never its label.

    Past headlines and paper titles are no labels: LaMP-4 and LaMP-5 index them, as does LaMP-2N the article's title.
    """
    text = task.content(interaction.query)
    if task.name not in _TITLES_INDEXED:
        return text
    title = interaction.ground_truth if task.kind == "text" else interaction.metadata.get("title")
    return f"{title or ''} {text}".strip()


def shown_items(interactions: Iterable[Interaction], task: Task) -> str:
    """Return the interactions as LaMP shows them in a prompt, joined by `, and `."""
    return ", and ".join(_shown(interaction, task) for interaction in interactions) or quoted_texts(())


def _shown(interaction: Interaction, task: Task) -> str:
    if task.name == "LaMP-1" and "title" in interaction.metadata:
        return quoted(str(interaction.metadata["title"]))
    text = quoted(task.content(interaction.query))
    if interaction.ground_truth is None:
        return text
    answer = interaction.ground_truth if task.kind == "rating" else quoted(interaction.ground_truth)
    return _ITEM_TEMPLATES.get(task.name, _OTHER_TEMPLATE).format(text=text, answer=answer)
