"""A task: what is asked, and in which form the answer must come."""

import re
from typing import Literal, cast

from .nouns import Noun


class Task(Noun):
    """One kind of question and the set of its answers."""

    name: str
    kind: Literal["label", "rating", "text"]
    """`label`: one of `labels`; `rating`: a whole number 1 to 5; `text`: free text."""
    labels: tuple[str, ...] = ()
    """The label set, in the task's own order; for a rating `1` to `5`; empty for text."""
    positional: bool = False
    """Whether a label names a place in the question: how often it was the answer says nothing about the user."""
    template: str = "{content}"
    """How an item's content becomes a query."""
    metric: str = ""
    """Name of the metric of one's own by which answers are scored; empty for those of the kind."""

    @property
    def rewards(self) -> Literal["accuracy", "mae", "rmse"]:
        """What an answer is rewarded for, which decides between the most probable one, the median and the mean."""
        if self.metric in {"accuracy", "mae", "rmse"}:
            return cast("Literal['accuracy', 'mae', 'rmse']", self.metric)
        return "mae" if self.kind == "rating" else "accuracy"

    def query(self, content: str) -> str:
        """Return the query that asks about `content`."""
        return self.template.replace("{content}", content)

    def content(self, query: str) -> str:
        """Return what a query is about: the query without the fixed words of the template."""
        before, _, after = self.template.partition("{content}")
        if before and query.startswith(before) and query.endswith(after):
            return query[len(before) : len(query) - len(after)]
        return query

    def parse(self, answer: str) -> str | None:
        """Return the answer in the task's form, or None if it has none: our policy, not the official scorer's.

        A label may differ in case, quotes and a final full stop; a rating may be written `4.0`.
        """
        bare = answer.strip().strip("\"'`").rstrip(".").strip()
        if self.kind == "text":
            return answer.strip() or None
        if self.kind == "rating":
            return match.group(1) if (match := re.fullmatch(r"([1-5])(?:\.0+)?", bare)) else None
        matches = [label for label in self.labels if label.casefold() == bare.casefold()]
        return matches[0] if matches else None


OPEN = Task(name="open", kind="text")
"""The task of a question that states no other: free text."""
