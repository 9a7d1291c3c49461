"""Which columns of a table say what: named by the user, or guessed by their names."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..errors import InputError

_GUESSES = {
    "query": ("query", "question", "prompt", "input", "instruction", "title", "name"),
    "ground_truth": (
        *("ground_truth", "truth", "answer", "output", "response", "completion", "target", "label"),
        *("rating", "my_rating", "stars", "score", "review", "comment"),
    ),
    "at": ("at", "date", "time", "timestamp", "datetime", "created_at", "created", "when", "ts"),
}
"""Names of columns by what they say, the likeliest first."""


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns. None: the column of the same name, or else a guess."""

    query: str | None = None
    ground_truth: str | None = None
    at: str | None = None
    user: str | None = None
    """Whose row it is; None if all rows are one user's."""

    def found_in(self, names: Collection[str], source: str) -> "Found":
        """Return where each is in a table."""
        chosen = {role: self._column(role, names, source) for role in ("query", "ground_truth", "at")}
        if self.user is not None:
            _check(self.user, names, source)
        guessed = {role for role, name in chosen.items() if name not in (None, role, getattr(self, role))}
        options = {"query": "--query", "ground_truth": "--truth"}
        if missing := [role for role in options if chosen[role] is None]:
            what, how = (" and ".join(each) for each in (missing, [options[role] for role in missing]))
            there = ", ".join(map(repr, names))
            raise InputError(f"{source}: no column looks like the {what}: name it with {how}, one of {there}")
        return Found({role: name for role, name in chosen.items() if name}, self.user, frozenset(guessed))

    def _column(self, role: str, names: Collection[str], source: str) -> str | None:
        if (named := getattr(self, role)) is not None:
            return _check(named, names, source)
        plain = {_plain(name): name for name in reversed(list(names))}
        return next((plain[guess] for guess in _GUESSES[role] if guess in plain), None)


@dataclass(frozen=True)
class Found:
    """Where a table says what.

    Args:
        columns: Column by field of an interaction.
        user: The column that says whose row it is.
        guessed: The fields whose columns were guessed.
    """

    columns: Mapping[str, str]
    user: str | None
    guessed: frozenset[str]

    @property
    def is_renamed(self) -> bool:
        """Whether a column has another name than its field."""
        return any(role != column for role, column in self.columns.items())

    def __str__(self) -> str:
        """Say it: `query is Title, ground_truth is Rating (guessed)`."""
        said = (f"{role} is {name!r}{' (guessed)' * (role in self.guessed)}" for role, name in self.columns.items())
        return ", ".join(said)


def _check(name: str, names: Collection[str], source: str) -> str:
    if name not in names:
        raise InputError(f"{source}: there is no column {name!r}: use one of {', '.join(map(repr, names))}")
    return name


def _plain(name: str) -> str:
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
