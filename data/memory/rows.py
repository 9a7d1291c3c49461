"""What the index keeps of one interaction, and the masks that say which interactions may be seen."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from ..interaction import SAID, Interaction, normalised
from ..task import task_or_open

Metadata = Mapping[str, object]
"""What the index keeps of a row beside its vector."""
Mark = tuple[int, str]
"""How many interactions there are, and the id of the one that was stored last."""

NO_MARK: Mark = (0, "")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoredInteractions(Protocol):
    """One user's interactions in the store: the truth that the index follows."""

    @property
    def mark(self) -> "Mark":
        """What tells one state of them from another."""
        ...

    def all(self) -> tuple[Interaction, ...]:
        """Return all of them, oldest first."""
        ...


class Row(NamedTuple):
    """One interaction as the index has it: the text is embedded, never kept."""

    row_id: str
    content: str
    """What is embedded."""
    metadata: dict[str, str | int]
    """What masks and comparisons need, and a hash of the content: rows with equal metadata are equal."""


def mark_of(interactions: Sequence[Interaction]) -> Mark:
    """Return the mark of interactions in the order in which they were stored."""
    return (len(interactions), interactions[-1].interaction_id) if interactions else NO_MARK


def content_of(interaction: Interaction) -> str:
    """Return what is embedded of it: what its query is about, without the fixed words of its task's template.

    The query of a task that is not known here is embedded whole. A ground truth is never embedded.
    """
    return task_or_open(interaction.task).content(interaction.query)


def row_of(user_key: str, interaction: Interaction, content: str, *, is_unknown: bool = False) -> Row:
    """Return the row of one of the user's interactions, whose `content` the embedder may have no words for."""
    microseconds, position = _moment(interaction)
    metadata: dict[str, str | int] = {
        "user": user_key,
        "interaction": interaction.interaction_id,
        "at": microseconds,
        "position": position,
        "query": hash_of(interaction.query),
        "content": _hash(content),
        "asks": hash_of(content),
        "unknown": int(is_unknown),
    }
    if interaction.task == SAID:
        metadata["said"] = 1
    return Row(row_id(user_key, interaction.interaction_id), content, metadata)


def row_id(user_key: str, interaction_id: str) -> str:
    """Return the row's id: an interaction's own id is unique only within its user."""
    return f"{user_key}/{interaction_id}"


def user_of(row: str) -> str:
    """Return the user's key in a row's id."""
    return row.partition("/")[0]


def interaction_id_of(row: str) -> str:
    """Return the interaction's own id in a row's id."""
    return row.partition("/")[2]


def hash_of(text: str) -> str:
    """Return a hash that texts share which differ in case or spacing only."""
    return _hash(normalised(text))


def shows(interaction: Interaction, masks: Sequence[Interaction]) -> bool:
    """Return whether an interaction may be seen: it is no statement of the user's, and every mask shows it.

    A mask shows what happened before it, is not the same interaction, and does not ask the same.
    """
    return interaction.task != SAID and all(
        interaction.precedes(mask)
        and interaction.interaction_id != mask.interaction_id
        and normalised(interaction.query) != normalised(mask.query)
        for mask in masks
    )


def shows_row(metadata: Metadata, masks: Sequence[Interaction]) -> bool:
    """Return whether `shows` is true of the interaction of a row."""
    moment = metadata["at"], metadata["position"]
    return "said" not in metadata and all(
        moment < _moment(mask)
        and metadata["interaction"] != mask.interaction_id
        and metadata["query"] != hash_of(mask.query)
        for mask in masks
    )


def _moment(interaction: Interaction) -> tuple[int, int]:
    at, position = interaction.moment
    # Whole microseconds: a float of seconds cannot tell two early dates apart.
    return (at - _EPOCH) // timedelta(microseconds=1), position


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
