"""Likeness by letters."""

import pytest

from personaagent.data.memory.lexical import likeness


def nearest(query: str, *texts: str) -> str:
    return max(zip(likeness(query, texts), texts, strict=True))[1]


def test_the_same_text_is_as_like_as_can_be_whatever_its_case_spacing_and_width() -> None:
    assert likeness("A film?", ["a  FILM?", "soup"]) == [1.0, 0.0]
    assert likeness("カフェ", ["ｶﾌｪ"]) == [1.0]


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("ร้านชาเงียบๆ", "ร้านชาใกล้สวน", "รถไฟไปทะเล"),
        ("静かな喫茶店", "駅前の喫茶店", "海へ行く電車"),
        ("安静的茶馆", "公园旁的茶馆", "去海边的火车"),
        ("🍵🌅", "🌅 🍵 🐟", "🚆🏖"),
    ],
    ids=["Thai", "Japanese", "Chinese", "emoji"],
)
def test_texts_that_share_parts_are_alike_in_any_script(query: str, near: str, far: str) -> None:
    assert nearest(query, far, near) == near


def test_a_text_without_letters_is_like_nothing() -> None:
    assert likeness("", ["tea"]) == [0.0]


def test_only_the_beginning_of_a_long_text_is_compared() -> None:
    assert likeness("tea " * 250, ["tea " * 250 + "and then soup " * 1000]) == [1.0]
