"""Which methods belong together, by their names."""

from personaagent.evaluation.names import Series, ablations, is_variant, series


def test_ablations_are_told_by_what_they_lack() -> None:
    names = ["rag", "personaagent:without=persona", "personaagent", "personaagent:without=action"]
    assert ablations(names) == {
        "nothing": "personaagent",
        "persona": "personaagent:without=persona",
        "action": "personaagent:without=action",
    }


def test_without_the_whole_system_or_without_ablations_there_is_no_table() -> None:
    assert ablations(["personaagent:without=persona"]) == {}
    assert ablations(["personaagent", "personaagent:n=5", "personaagent:without=persona,n=5"]) == {}


def test_a_series_has_the_usual_value_where_the_name_leaves_it_out() -> None:
    assert series(["personaagent:n=5", "personaagent", "personaagent:n=1"]) == (
        Series("n", "personaagent", ((1, "personaagent:n=1"), (3, "personaagent"), (5, "personaagent:n=5"))),
    )


def test_methods_that_differ_in_more_than_the_number_are_no_series() -> None:
    names = ["rag", "rag:k=8", "rag:k=8,retriever=dense", "rag:k=16,retriever=dense", "personaagent:k=8"]
    assert series(names) == (
        Series("k", "rag", ((4, "rag"), (8, "rag:k=8"))),
        Series("k", "rag:retriever=dense", ((8, "rag:k=8,retriever=dense"), (16, "rag:k=16,retriever=dense"))),
    )


def test_a_method_that_nobody_lists_is_as_good_as_any() -> None:
    assert series(["mine:depth=1", "mine:depth=2"]) == (
        Series("depth", "mine", ((1, "mine:depth=1"), (2, "mine:depth=2"))),
    )


def test_variants_are_of_the_whole_system() -> None:
    assert is_variant("personaagent:n=5")
    assert not is_variant("personaagent")
    assert not is_variant("rag:k=8")
