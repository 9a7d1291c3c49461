"""The drawings of a report."""

import io
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING, Any

from ...data.errors import needing
from ..metrics import ERRORS
from ..names import Series, ablations
from .analysis import TaskAnalysis, is_better
from .document import Figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": 8}
"""Where a legend stands."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: the colour-blind can tell them apart, on light and on dark paper."""
MARKERS = "osD^vP"
"""Of lines, beside their colours."""

BETTER, WORSE, BASE = COLOURS[0], COLOURS[1], "#888888"

_LEAST_TOKENS = 100
"""Below it the axis of tokens is linear, so that methods without an LM have a place."""
_WIDTH = 6.4
_INK = "#123456"
"""Stands for the colour of the text around a drawing, which matplotlib has no word for."""

_STYLE = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def drawn(name: str, caption: str, draw: "Callable[[Axes], None]", *, height: float = 3.6) -> Figure:
    """Draw a figure of so many inches height; what is neither a letter nor a digit in its name becomes a hyphen."""
    with needing("report"):
        import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        draw(canvas.subplots())
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return Figure(re.sub(r"[^A-Za-z0-9]+", "-", name), caption, _element(file.getvalue(), caption))


def _element(svg: str, caption: str) -> str:
    """Return the `svg` element alone, as wide as there is room, in the colour of its surroundings."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor").strip()
    svg = re.sub(r'<g id="[^"]*"(/?)>', r"<g\1>", svg)  # ids would be there twice in a page of several drawings
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    opening = re.sub(r' (width|height)="[^"]*"', "", svg[: svg.index(">")])
    return f'{opening} role="img" aria-label="{escape(caption)}"{svg[svg.index(">") :]}'


def methods(analysis: TaskAnalysis) -> Figure:
    """Draw the main metric of each method, with intervals."""
    caption = f"The methods, 95 % intervals over users. Dotted: {analysis.baseline}."
    return _beside(analysis, "methods", {name: name for name in analysis.methods}, analysis.baseline, caption)


def effect_per_user(analysis: TaskAnalysis, method: str) -> Figure:
    """Draw what a method changes for each user against the baseline, users by effect."""
    effects = sorted(effect for effect in analysis.effects[method] if math.isfinite(effect))
    colours = [BETTER if is_better(analysis.main_metric, effect) else WORSE for effect in effects]

    def draw(axes: "Axes") -> None:
        axes.bar(range(len(effects)), effects, color=colours)
        axes.axhline(0, color=BASE, linewidth=0.8)
        axes.set(xticks=[], xlabel="users, by effect", ylabel=f"{analysis.main_metric}: difference")

    better = sum(is_better(analysis.main_metric, effect) for effect in analysis.effects[method])
    same = sum(effect == 0 for effect in analysis.effects[method])
    counts = f"{better} better, {same} the same, {len(analysis.effects[method]) - same - better} worse"
    caption = f"{method} against {analysis.baseline}, {analysis.main_metric} of each user: {counts}."
    return drawn(f"{analysis.task.name}-effect-{method}", caption, draw, height=2.6)


def ablation(analysis: TaskAnalysis) -> Figure:
    """Draw the main metric of the whole system and of each ablation, with intervals."""
    lacking = ablations(analysis.methods)
    labels = ["whole", *(f"without {part}" for part in list(lacking)[1:])]
    caption = "The whole system and its ablations, 95 % intervals. Dotted: the whole system."
    return _beside(analysis, "ablation", dict(zip(labels, lacking.values(), strict=True)), "whole", caption)


def scaling(analysis: TaskAnalysis, series: Sequence[Series]) -> Figure:
    """Draw the main metric over one number, a line for each family of methods."""
    option = series[0].option

    def draw(axes: "Axes") -> None:
        for line, colour, marker in zip(series, cycle(COLOURS), cycle(MARKERS), strict=False):
            values, below, above = _points(analysis, [name for _, name in line.points])
            look: dict[str, Any] = {"fmt": f"{marker}-", "capsize": 3, "color": colour, "label": line.fixed}
            axes.errorbar([value for value, _ in line.points], values, yerr=[below, above], **look)
        ticks = sorted({value for line in series for value, _ in line.points})
        axes.set(xticks=ticks, xlabel=option, ylabel=_axis(analysis.main_metric))
        axes.legend(**_BESIDE)

    return drawn(f"{analysis.task.name}-scaling-{option}", f"Scaling over {option}, 95 % intervals.", draw)


def cost(analysis: TaskAnalysis) -> Figure:
    """Draw the main metric over the tokens that a question takes; methods on the Pareto front are joined and filled."""
    points = {
        name: (result.tokens_per_question, result.summary.official[analysis.main_metric])
        for name, result in analysis.methods.items()
    }
    front = pareto_front(points, analysis.main_metric)

    def draw(axes: "Axes") -> None:
        axes.plot([points[name][0] for name in front], [points[name][1] for name in front], color=BASE, linewidth=0.8)
        numbers: dict[tuple[float, float], list[str]] = defaultdict(list)
        for place, (name, (tokens, value)) in enumerate(sorted(points.items(), key=lambda point: point[1]), 1):
            style = "full" if name in front else "none"
            axes.plot([tokens], [value], "o", color=COLOURS[0], fillstyle=style, label=f"{place}  {name}")
            numbers[tokens, value].append(str(place))
        for point, places in numbers.items():
            axes.annotate(", ".join(places), point, xytext=(5, 5), textcoords="offset points", fontsize=8)
        axes.set_xscale("symlog", linthresh=_LEAST_TOKENS)
        axes.set_xlim(left=-_LEAST_TOKENS / 10)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set(xlabel="tokens for a question, preparation included", ylabel=_axis(analysis.main_metric))
        axes.legend(**_BESIDE)

    caption = f"Cost and quality. Filled: no other method is both cheaper and better ({', '.join(front)})."
    return drawn(f"{analysis.task.name}-cost", caption, draw, height=4.0)


def pareto_front(points: dict[str, tuple[float, float]], metric: str) -> tuple[str, ...]:
    """Return the names of the points (cost, metric) that no other beats in one and at least equals in the other."""
    front: list[str] = []
    sign = 1 if metric in ERRORS else -1
    for name in sorted(points, key=lambda name: (points[name][0], sign * points[name][1], name)):
        last = points[front[-1]] if front else None
        if last is None or points[name] == last or is_better(metric, points[name][1] - last[1]):
            front.append(name)
    return tuple(front)


def overlap(task: str, users: Sequence[str], matrix: Sequence[Sequence[float]]) -> Figure:
    """Draw the overlap of each user's persona with each other's as a heat map."""
    size = 8.0 if len(users) <= 20 else 5.0

    def draw(axes: "Axes") -> None:
        image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
        axes.set_xticks(range(len(users)), users, rotation=90, fontsize=size)
        axes.set_yticks(range(len(users)), users, fontsize=size)
        axes.figure.colorbar(image, ax=axes, label="share of common words (Jaccard)")

    caption = "Overlap of the words of users' personas; 1 is the same words."
    return drawn(f"{task}-overlap", caption, draw, height=5.0)


def persona_map(task: str, users: Sequence[str], places: "NDArray[np.float64]") -> Figure:
    """Draw where personas lie on a map, each with its user."""

    def draw(axes: "Axes") -> None:
        axes.scatter(places[:, 0], places[:, 1], color=COLOURS[0], s=16)
        for user, (across, up) in zip(users, places, strict=True):
            axes.annotate(user, (across, up), xytext=(3, 3), textcoords="offset points", fontsize=7)
        axes.set(xticks=[], yticks=[])

    caption = "Personas by meaning (t-SNE of their embedded texts): near is alike; far distances mean nothing."
    return drawn(f"{task}-map", caption, draw, height=4.4)


def _beside(analysis: TaskAnalysis, name: str, labelled: dict[str, str], compared_with: str, caption: str) -> Figure:
    """Draw the main metric of methods one below the other, each by its label, with a line through one of them."""
    values, below, above = _points(analysis, list(labelled.values()))
    labels, places = list(labelled), range(len(labelled))

    def draw(axes: "Axes") -> None:
        axes.errorbar(values, places, xerr=[below, above], fmt="o", capsize=3, color=COLOURS[0])
        axes.axvline(values[labels.index(compared_with)], color=BASE, linewidth=0.8, linestyle=":")
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.set(xlabel=_axis(analysis.main_metric))

    return drawn(f"{analysis.task.name}-{name}", caption, draw, height=1.0 + 0.3 * len(labelled))


def _points(analysis: TaskAnalysis, names: Sequence[str]) -> tuple[list[float], list[float], list[float]]:
    """Return the main metric of methods, and how far their intervals reach below and above; 0 where there is none."""
    found = [analysis.methods[name].pooled[analysis.main_metric] for name in names]
    below = [0.0 if metric.low is None else metric.value - metric.low for metric in found]
    above = [0.0 if metric.high is None else metric.high - metric.value for metric in found]
    return [metric.value for metric in found], below, above


def _axis(metric: str) -> str:
    return f"{metric} (less is better)" if metric in ERRORS else metric
