"""Drawings: well-formed, the same bytes each time, and right about who is on the Pareto front."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from personaagent.evaluation.names import series
from personaagent.evaluation.report import TaskAnalysis, figures
from personaagent.evaluation.report.figures import drawn

POINTS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), min_size=1
)


@given(POINTS, st.sampled_from(["accuracy", "mae"]))
def test_the_front_is_who_is_not_beaten(points: dict[str, tuple[float, float]], metric: str) -> None:
    def beats(other: str, name: str) -> bool:
        cost, score = points[other][0] - points[name][0], points[other][1] - points[name][1]
        gain = -score if metric == "mae" else score
        return cost <= 0 and gain >= 0 and (cost < 0 or gain > 0)

    unbeaten = {name for name in points if not any(beats(other, name) for other in points)}
    assert set(figures.pareto_front(points, metric)) == unbeaten


def test_every_figure_is_one_element_in_the_colour_of_its_surroundings(analyses: tuple[TaskAnalysis, ...]) -> None:
    films, _ = analyses
    several = [
        figures.methods(films),
        figures.effect_per_user(films, "personaagent"),
        figures.ablation(films),
        figures.cost(films),
        *(figures.scaling(films, [line]) for line in series(films.methods)),
        figures.overlap("LaMP-2M", ["a1", "b2"], [[1.0, 0.5], [0.5, 1.0]]),
    ]
    assert [figure.name for figure in several] == [
        "LaMP-2M-methods",
        "LaMP-2M-effect-personaagent",
        "LaMP-2M-ablation",
        "LaMP-2M-cost",
        "LaMP-2M-scaling-k",
        "LaMP-2M-scaling-n",
        "LaMP-2M-overlap",
    ]
    for figure in several:
        assert ET.fromstring(figure.svg).tag.endswith("svg")  # noqa: S314 - our own drawing
        assert ET.fromstring(figure.alone).tag.endswith("svg")  # noqa: S314
        assert "currentColor" in figure.svg
        assert "<script" not in figure.svg


def test_the_words_of_a_figure_stay_words(analyses: tuple[TaskAnalysis, ...]) -> None:
    svg = figures.cost(analyses[0]).svg
    assert "personaagent:without=persona" in svg
    assert "tokens for a question" in svg


def test_methods_stand_one_below_the_other_each_by_its_name(analyses: tuple[TaskAnalysis, ...]) -> None:
    films, _ = analyses
    figure = figures.methods(films)
    assert all(f">{name}<" in figure.svg for name in films.methods)
    assert films.baseline in figure.caption


def test_a_caption_counts_users(analyses: tuple[TaskAnalysis, ...]) -> None:
    caption = figures.effect_per_user(analyses[0], "personaagent").caption
    assert caption == "personaagent against rag, accuracy of each user: 4 better, 2 the same, 0 worse."


@pytest.mark.parametrize("name", ["../../etc/passwd", "rag:k=8", "a b"])
def test_a_name_is_a_file_in_its_folder(name: str) -> None:
    assert set(drawn(name, "", lambda axes: None).name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_what_looks_like_mathematics_or_markup_is_text() -> None:
    def draw(axes: Axes) -> None:
        axes.set(xlabel="$x^2$ <script>alert(1)</script>")

    figure = drawn("hostile", '"<b>"', draw)
    assert "$x^2$ &lt;script&gt;" in figure.svg
    assert ET.fromstring(figure.svg).get("aria-label") == '"<b>"'  # noqa: S314
