"""Exports of well-known services: what of each is a query, and what the user's own answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..record import Record
from ..task import Task

Fields = dict[str, Any]


Read = Callable[[Sequence[Record], Task], Iterator[tuple[Record, Fields]]]


class Export(NamedTuple):
    """The export of one service.

    Args:
        name: The service.
        columns: By which its rows are known: all of these are there.
        said: What is a query and what is a ground truth, in one sentence.
        read: Returns interactions as fields, each with the row that an error names.
    """

    name: str
    columns: frozenset[str]
    said: str
    read: Read


def export_of(row: Record) -> Export | None:
    """Return the export that a row is of; None if it is of none that is known."""
    own = {"query", "ground_truth"} <= row.fields.keys()
    return None if own else next((export for export in _EXPORTS if export.columns <= row.fields.keys()), None)


def _each(read: Callable[[Record, Task], Iterator[Fields]]) -> Read:
    """Return what reads rows of which each stands for itself."""
    return lambda rows, task: ((row, fields) for row in rows for fields in read(row, task))


def _goodreads(row: Record, task: Task) -> Iterator[Fields]:
    rating, review = _number(row, "My Rating"), row.fields.get("My Review")
    book = f"{row.text('Title')} by {row.text('Author')}"
    at = row.fields.get("Date Read") or row.fields.get("Date Added")
    yield _rated(task, f"the book {book}", book, at, rating, review)


def _letterboxd(row: Record, task: Task) -> Iterator[Fields]:
    film = row.text("Name") + (f" ({row.fields['Year']})" if row.fields.get("Year") else "")
    review = row.fields.get("Review")
    yield _rated(task, f"the film {film}", film, row.fields.get("Date"), _number(row, "Rating"), review)


def _amazon(row: Record, task: Task) -> Iterator[Fields]:
    title, text = str(row.fields.get("title", "")), str(row.fields.get("text", ""))
    about = f"the product {row.text('asin')}" + (f", {title!r}" if title else "")
    yield _rated(task, about, f"{title}\n{text}".strip(), row.fields.get("timestamp"), _number(row, "rating"), text)


def _number(row: Record, field: str) -> float | None:
    """Return a number; None if there is none, or it is 0, which stands for no rating."""
    try:
        return float(str(row.fields.get(field) or 0)) or None
    except ValueError:
        raise row.error(field, f"{str(row.fields[field])[:40]!r} is no number") from None


def _rated(task: Task, thing: str, content: str, at: Any, rating: float | None, review: Any) -> Fields:
    """Return the fields of a rating: a number where the task asks for one, else words."""
    if task.kind == "text":
        stars = f"{rating:g} of 5 stars" if rating else ""
        said = ". ".join(part for part in (stars, str(review or "").strip()) if part)
        return {"query": f"What do you think of {thing}?", "ground_truth": said or None, "at": at}
    return {"query": task.query(content), "ground_truth": rating, "at": at}


def _chatgpt(row: Record, task: Task) -> Iterator[Fields]:
    """Yield what the user wrote, with the assistant's answer as a response: the user's own answer is not known."""
    asked: dict[str, Any] | None = None
    for message in _branch(row):
        role, text = _at(message, "author", "role"), _text(message)
        if role == "user" and text:
            asked = {"query": text, "at": message.get("create_time"), "id": message["id"]}
        elif role == "assistant" and text and asked:
            yield {**asked, "response": text}
            asked = None


def _branch(row: Record) -> list[Mapping[str, Any]]:
    """Return the messages of the conversation as it stands: from the current node up to the root, turned round."""
    nodes = cast("Mapping[str, Any]", row.fields["mapping"])
    node, messages = cast("str | None", row.fields.get("current_node")), list[Mapping[str, Any]]()
    while node is not None and node in nodes and len(messages) <= len(nodes):
        if message := nodes[node].get("message"):
            messages.append(message)
        node = nodes[node].get("parent")
    return messages[::-1]


def _text(message: Mapping[str, Any]) -> str:
    parts: Sequence[Any] = _at(message, "content", "parts") or ()
    return "\n".join(part for part in parts if isinstance(part, str)).strip()


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return value


def _fine_tuning(row: Record, task: Task) -> Iterator[Fields]:
    """Yield each answer of the assistant, who stands for the user, with the message before it."""
    asked = None
    for number, message in enumerate(row.items("messages"), 1):
        said = Record(row.file, f"{row.name}, message {number}", message)
        role, text = said.text("role"), said.fields.get("content")
        if role == "user":
            asked = text
        elif role == "assistant" and asked:
            yield {"query": asked, "ground_truth": text}


def _slack(rows: Sequence[Record], task: Task) -> Iterator[tuple[Record, Fields]]:
    """Yield each reply in a channel or thread, with what somebody else wrote before it."""
    before: dict[object, Record] = {}
    for message in sorted(rows, key=_slack_time):
        thread = message.fields.get("thread_ts")
        asked = before.get(thread)
        if asked and asked.fields["user"] != message.fields.get("user"):
            reply = {"query": task.query(asked.text("text")), "ground_truth": message.text("text")}
            yield message, {**reply, "at": message.fields["ts"], "user": message.text("user")}
        if message.fields.get("text") and "user" in message.fields:
            before[thread] = message


def _slack_time(message: Record) -> float:
    try:
        return float(str(message.fields.get("ts")))
    except ValueError:
        raise message.error("ts", "is no time of Slack's: seconds since 1970") from None


_EXPORTS = (
    Export(
        "Goodreads",
        frozenset({"Book Id", "Title", "Author", "My Rating"}),
        "a query asks about a book; the truth is your stars and your review",
        _each(_goodreads),
    ),
    Export(
        "Letterboxd",
        frozenset({"Letterboxd URI", "Name", "Rating"}),
        "a query asks about a film; the truth is your stars, and your review if there is one",
        _each(_letterboxd),
    ),
    Export(
        "Amazon Reviews",
        frozenset({"asin", "rating", "text", "timestamp"}),
        "a query asks about a product; the truth is your stars and your review",
        _each(_amazon),
    ),
    Export(
        "ChatGPT",
        frozenset({"mapping", "current_node"}),
        "a query is what you asked and the response is ChatGPT's; there is no truth, so it is remembered and teaches "
        "nothing until you say what you would have answered",
        _each(_chatgpt),
    ),
    Export(
        "OpenAI fine-tuning",
        frozenset({"messages"}),
        "a query is a message of the user, the truth the assistant's answer, who stands for the person",
        _each(_fine_tuning),
    ),
    Export(
        "Slack",
        frozenset({"type", "user", "text", "ts"}),
        "a query is what somebody else wrote last in the channel or thread, the truth what the person wrote then",
        _slack,
    ),
)
