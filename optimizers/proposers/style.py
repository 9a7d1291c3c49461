"""Style: how the user writes, counted in the user's own texts."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median, quantiles

from ...data.change import Change
from ...data.interaction import Interaction
from ...data.persona import PersonaLine
from ...data.task import Task
from .proposing import Case

LEAST_TEXTS = 8
USUAL = 0.75
"""Share of the texts that makes something a habit."""
_SMALL = {"a", "an", "and", "as", "at", "but", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"}


class ProposeStyle:
    """Proposes lines about length, casing, final punctuation and openings of the texts that the user wrote.

    Each is counted over all texts, so these are the causes of each line; a habit is what three texts of four have.
    """

    simulates = False

    def applies(self, task: Task) -> bool:
        """Whether answers are texts."""
        return task.kind == "text"

    def propose(self, case: Case) -> Sequence[Change]:
        """Return a line for each habit."""
        if not self.applies(case.task) or len(case.history) < LEAST_TEXTS:
            return ()
        held = {line.line_id: line for line in case.persona.lines if line.kind == "style"}
        added = [_added(line, held.values()) for line in style_lines(case.history) if line.line_id not in held]
        return tuple(added)


def style_lines(history: Sequence[Interaction]) -> list[PersonaLine]:
    """Return a line for each habit of the texts that the user wrote."""
    texts = [(one.ground_truth or "").strip() for one in history]
    causes = tuple(one.interaction_id for one in history)
    return [PersonaLine(section="style", text=text, causes=causes, kind="style") for text in _habits(texts)]


def same_habit(line: PersonaLine, others: Iterable[PersonaLine]) -> PersonaLine | None:
    """Return the line that says what another says, of other texts."""
    return next((one for one in others if one.text.split()[:2] == line.text.split()[:2]), None)


def _habits(texts: Sequence[str]) -> list[str]:
    found = (_length(texts), _casing(texts), _ending(texts), _opening(texts))
    return [habit for habit in found if habit]


def _length(texts: Sequence[str]) -> str:
    words = [len(text.split()) for text in texts]
    low, _, high = quantiles(words, n=4)
    return f"Write about {median(words):.0f} words, mostly {low:.0f} to {high:.0f}."


def _casing(texts: Sequence[str]) -> str:
    styles: dict[str, Callable[[str], bool]] = {
        "Write Every Word With A Capital, But Small Ones.": _is_title,
        "Write everything in lower case.": str.islower,
        "Write everything in capitals.": str.isupper,
    }
    return next((habit for habit, has in styles.items() if _share(texts, has) >= USUAL), "")


def _is_title(text: str) -> bool:
    words = [word for word in text.split()[1:] if word[0].isalpha() and word.casefold() not in _SMALL]
    return bool(words) and all(word[0].isupper() for word in words) and not text.isupper()


def _ending(texts: Sequence[str]) -> str:
    habits: dict[str, Callable[[str], bool]] = {
        "End with a full stop.": lambda text: text.endswith("."),
        "End with a question mark.": lambda text: text.endswith("?"),
        "End with an exclamation mark.": lambda text: text.endswith("!"),
        "End without punctuation.": lambda text: text[-1:].isalnum(),
    }
    return next((habit for habit, has in habits.items() if _share(texts, has) >= USUAL), "")


def _opening(texts: Sequence[str]) -> str:
    firsts = [text.split()[0] for text in texts if text.split()]
    usual = max(sorted(set(firsts)), key=firsts.count, default="")
    return f'Begin with "{usual}".' if firsts.count(usual) >= USUAL * len(texts) else ""


def _share(texts: Sequence[str], has: Callable[[str], bool]) -> float:
    return sum(map(has, texts)) / len(texts)


def _added(line: PersonaLine, held: Iterable[PersonaLine]) -> Change:
    """Return the line as a change, in place of the one that said the same of fewer texts."""
    old = same_habit(line, held)
    if old is None:
        return Change(kind="style", action="add", line=line, causes=line.causes)
    return Change(kind="style", action="replace", line=line, replaces=old.line_id, causes=line.causes)
