"""Episodes by meaning: the vectors of interactions in Chroma, derived from the store and rebuilt from it.

The store is the truth and is written first. A crash may take what is held in memory and not yet in Chroma: `heal`
brings it back.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..errors import StorageError
from ..interaction import Interaction
from . import lexical
from .embedder import Embedder, is_unknown
from .held import HeldRows
from .nearest import NO_ROWS, Comparison, Match, UserRows, Wanted
from .rows import NO_MARK, Mark, Row, StoredInteractions, contents_of, hash_of, mark_of, row_id, row_of, user_of
from .shard import batches, count_of, delete, make_equal, rows_in, write, write_again
from .shards import Shards

if TYPE_CHECKING:
    from .chroma_server import Collection

_MOST_GATHERED = 32
"""Rows of a shard that wait to be written together: one alone takes Chroma as long as all of them, 10 ms."""

_log = logging.getLogger(__name__)


class EpisodeIndex:
    """The vectors of many users' interactions. Each call names one user by key and touches only this user's rows.

    On opening, collections made by another embedder, layout or number of shards are dropped; `heal` then brings each
    user's rows back from the store. Threads may share it; copies of it are itself.

    Args:
        place: A `Path` is the folder where Chroma keeps its files: a home sees to it that one index has it open. A text
            is the URL of a Chroma server that only the processes of one store use. None keeps all in memory.
        embedder: Makes the vectors. Nothing is asked of it before the first row or search.
        shards: How many collections the users are spread over.

    Raises:
        SetupError: The URL cannot be used.
    """

    def __init__(self, place: Path | str | None, embedder: Embedder, *, shards: int = 64) -> None:
        self._shards = Shards(place, embedder, shards)
        self._embedder = embedder
        self._known_rows: dict[str, Mark] = {}
        self._held = HeldRows()
        self._gathered: dict[int, list[tuple[Row, list[float]]]] = {}

    def add(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> None:
        """Write the rows of interactions that were just stored.

        Those of a user whose rows are held already are found at once, and written together with others.

        Args:
            user_key: Whose.
            interactions: With the positions that the store gave them.
            contents: What to embed of each.

        Raises:
            StorageError: Chroma cannot write. The next `heal` writes the rows.
        """
        number = self._shards.number_of(user_key)
        added = 0
        for batch in batches(self._rows_of(user_key, interactions, contents)):
            added += len(batch)
            vectors = self._vectors(batch)
            with self._shards.turn(number):
                held = self._held.let_go(user_key)
                more = None if held is None else held.with_new(batch, vectors)
                gathered = self._gathered.setdefault(number, [])
                if more is None or len(gathered) + len(batch) > _MOST_GATHERED:
                    with self._whole_shard(number) as shard:
                        write(shard, batch, vectors)
                else:
                    gathered.extend(zip(batch, vectors, strict=True))
                if (known := self._known_rows.get(user_key)) is not None:
                    self._known_rows[user_key] = (known[0] + len(batch), interactions[added - 1].interaction_id)
                if more is not None:
                    self._held.hold(user_key, more)

    def remove(self, user_key: str, interaction_ids: Sequence[str]) -> None:
        """Drop the rows of interactions that were just forgotten. Their vectors stay in Chroma's files until `erase`.

        Raises:
            StorageError: Chroma cannot write. The next `heal` drops the rows.
        """
        with self._shard_of(user_key) as shard:
            self._held.let_go(user_key)
            delete(shard, [row_id(user_key, interaction_id) for interaction_id in interaction_ids])
            self._known_rows.pop(user_key, None)

    def erase(self, user_key: str) -> int:
        """Drop the user's rows, those that were dropped before too, out of Chroma's files.

        Chroma takes no vector out of a file. So the user's shard is made anew from the rows of its other users, while
        these wait; cut off in between, their `heal` brings them back. Then the files are cleaned, while everyone waits.
        The files of a server are out of reach (`is_elsewhere`): they keep vectors that no collection uses any more.

        Returns:
            How many rows of the user there were.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        if not self._shards.are_there:
            return 0
        number = self._shards.number_of(user_key)
        self._shards.note_erasing()
        with self._whole_shard(number) as shard:
            erased = len(rows_in(shard, user_key))
            kept = shard.get(where={"user": {"$ne": user_key}}, include=["embeddings", "metadatas"])
            for neighbour in [key for key in list(self._known_rows) if self._shards.number_of(key) == number]:
                self._forget(neighbour)
            self._forget(user_key)
            with self._shards.remade(number) as anew:
                write_again(anew, kept)
        self._write_waiting()  # Written later, their new files would have room for what this process remembers.
        self._shards.clean()
        return erased

    def heal(self, user_key: str, stored: StoredInteractions) -> None:
        """Make the user's rows equal to what is stored, unless they are known to be.

        They are known to be once this process has compared them, and for as long as the store's mark is the same. So
        what a crash left undone between store and index, or another process stored, is done before anyone searches. A
        server's rows are counted each time, since other processes write them too.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        with self._shards.turn(self._shards.number_of(user_key)):
            if self._is_known(user_key, stored.mark):
                return
            self._held.let_go(user_key)
            with self._shard_of(user_key) as shard:
                # The rows first: another process stores before it writes, so none of its new ones looks extra.
                found, interactions = rows_in(shard, user_key), stored.all()
                wanted = self._rows_of(user_key, interactions, contents_of(interactions))
                make_equal(shard, found, wanted, self._vectors)
            self._known_rows[user_key] = mark_of(interactions)
            if not interactions and not self._shards.are_shared:
                self._held.hold(user_key, NO_ROWS)
        if interactions and stored.mark == NO_MARK:
            self.erase(user_key)  # The user was erased between the store and the index.

    def sync(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> None:
        """Make the user's rows equal to these: write what is missing or differs, drop what is extra.

        Raises:
            StorageError: Chroma cannot read or write.
        """
        with self._shard_of(user_key) as shard:
            self._held.let_go(user_key)
            wanted = self._rows_of(user_key, interactions, contents)
            make_equal(shard, rows_in(shard, user_key), wanted, self._vectors)
            self._known_rows[user_key] = mark_of(interactions)

    def search(
        self,
        user_key: str,
        text: str,
        k: int,
        *,
        before: Sequence[Interaction] = (),
        otherwise: Callable[[], list[Match]] | None = None,
    ) -> list[Match]:
        """Return at most `k` of the user's interactions, nearest in meaning first; what asks the same is the nearest.

        Args:
            user_key: Whose.
            text: What to look for.
            k: How many, at least 1.
            before: Masks. Let through is what happened before each of these, is none of these, and asks something else.
            otherwise: Finds what is returned where vectors do not tell these texts apart (`Comparison.is_blind`).

        Raises:
            StorageError: Chroma cannot read.
        """
        vector = self._embedder.embed([text])[0].tolist()
        wanted = Wanted(hash_of(text), vector, is_unknown(self._embedder, text))
        with self._shards.turn(self._shards.number_of(user_key)):
            comparison = Comparison(self._rows(user_key), wanted, before)
        return otherwise() if otherwise and comparison.is_blind else comparison.best(k)

    def likeness(self, text: str, others: Sequence[str]) -> list[float]:
        """Return how near each of `others` is to `text`: in meaning, or by letters if the embedder has no words."""
        if is_unknown(self._embedder, text):
            return lexical.likeness(text, others)
        vector, *rest = self._embedder.embed([text, *others]).astype("float64")
        return [round(float(vector @ other), 9) for other in rest]

    def rebuild(self) -> None:
        """Drop the rows of all users; `heal` brings each user's back.

        Raises:
            StorageError: Chroma cannot write.
        """
        self._shards.drop()
        self._known_rows.clear()
        self._gathered.clear()
        self._held.clear()

    def close(self) -> None:
        """Let go of the folder; the index cannot be used any more."""
        try:
            self._write_waiting()
            if self._shards.have_erased:
                self._shards.clean()
                self._shards.note_erased()
        except StorageError as error:
            _log.warning("the memory index is behind the store, and catches up when it is opened again: %s", error)
        self._held.clear()
        self._shards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def _is_known(self, user_key: str, mark: Mark) -> bool:
        """Return whether this process has compared the user's rows when the store was as it is."""
        if not self._shards.are_shared or user_key not in self._known_rows:
            return self._known_rows.get(user_key) == mark
        with self._shard_of(user_key) as shard:
            return count_of(shard, user_key) == mark[0]

    def _rows(self, user_key: str) -> UserRows:
        """Return a user's rows. Chroma takes 0.1 ms to hand one out; but to a server other processes write too."""
        if (held := self._held.get(user_key)) is not None:
            return held
        with self._shard_of(user_key) as shard:
            rows = UserRows.read(shard.get(where={"user": user_key}, include=["embeddings", "metadatas"]))
        if not self._shards.are_shared:
            self._held.hold(user_key, rows)
        return rows

    def _rows_of(self, user_key: str, interactions: Sequence[Interaction], contents: Sequence[str]) -> list[Row]:
        return [
            row_of(user_key, one, content, is_unknown=is_unknown(self._embedder, content))
            for one, content in zip(interactions, contents, strict=True)
        ]

    def _vectors(self, rows: Sequence[Row]) -> list[list[float]]:
        return self._embedder.embed([row.content for row in rows]).tolist()

    @property
    def is_elsewhere(self) -> bool:
        """Whether a server has the files."""
        return self._shards.are_shared

    @contextmanager
    def _shard_of(self, user_key: str) -> "Generator[Collection]":
        """Hold a user's shard, in which the user's rows are written, while the block runs."""
        number = self._shards.number_of(user_key)
        with self._shards.held(number) as shard:
            if any(user_of(row.row_id) == user_key for row, _ in self._gathered.get(number, ())):
                self._write_together(shard, number)
            yield shard

    @contextmanager
    def _whole_shard(self, number: int) -> "Generator[Collection]":
        """Hold a shard, in which everybody's rows are written, while the block runs."""
        with self._shards.held(number) as shard:
            self._write_together(shard, number)
            yield shard

    def _write_together(self, shard: "Collection", number: int) -> None:
        if not (gathered := self._gathered.pop(number, None)):
            return
        with ExitStack() as failing:
            for user_key in {user_of(row.row_id) for row, _ in gathered}:
                failing.callback(self._forget, user_key)  # Its rows are healed before the next search.
            write(shard, [row for row, _ in gathered], [vector for _, vector in gathered])
            failing.pop_all()

    def _write_waiting(self) -> None:
        for number in list(self._gathered):
            with self._whole_shard(number):
                pass

    def _forget(self, user_key: str) -> None:
        """Know nothing any more of what the index has of a user."""
        self._known_rows.pop(user_key, None)
        self._held.let_go(user_key)
