"""From the probabilities of tokens to those of answers."""

import math

import pytest
from dspy.lm15 import TokenLogprob, TopLogprob
from hypothesis import given
from hypothesis import strategies as some

from personaagent.programs.decision_lm import NextTokens, answer_probabilities, written_tokens


def tree(places: dict[str, dict[str, float]]) -> NextTokens:
    """Return an LM that knows the next tokens at these places of an answer."""
    return lambda begun: {token.encode(): share for token, share in places.get(begun.decode(), {}).items()}


def test_answers_that_begin_differently_need_one_place() -> None:
    found = answer_probabilities(tree({"": {"com": 0.6, "act": 0.2, "the": 0.2}}), ["comedy", "action"])
    assert found == pytest.approx({"comedy": 0.75, "action": 0.25})


def test_answers_that_share_their_first_token_are_told_apart_by_the_next() -> None:
    places = {"": {"dark": 0.8, "com": 0.2}, "dark": {" comedy": 0.75, " drama": 0.25}}
    found = answer_probabilities(tree(places), ["dark comedy", "dark drama", "comedy"])
    assert found == pytest.approx({"dark comedy": 0.6, "dark drama": 0.2, "comedy": 0.2})


def test_an_answer_that_begins_another_ends_with_the_quote() -> None:
    places = {"": {"sci": 1.0}, "sci": {'"}': 0.9, "-fi": 0.1}}
    assert answer_probabilities(tree(places), ["sci", "sci-fi"]) == pytest.approx({"sci": 0.9, "sci-fi": 0.1})


def test_a_token_may_hold_the_whole_answer_and_the_quote() -> None:
    assert answer_probabilities(tree({"": {'4"': 0.5, "4": 0.3, "5": 0.2}}), ["4", "5"]) == pytest.approx(
        {"4": 0.8, "5": 0.2}
    )


def test_what_cannot_be_told_apart_shares_alike() -> None:
    found = answer_probabilities(tree({"": {"dark": 0.8, "com": 0.2}}), ["dark comedy", "dark drama", "comedy"])
    assert found == pytest.approx({"dark comedy": 0.4, "dark drama": 0.4, "comedy": 0.2})


def test_answers_with_quotes_are_compared_as_json_writes_them() -> None:
    found = answer_probabilities(tree({"": {'\\"': 0.7, "n": 0.3}}), ['"so" she said', "nothing"])
    assert found == pytest.approx({'"so" she said': 0.7, "nothing": 0.3})


def test_where_no_answer_is_likely_nothing_is_known() -> None:
    assert answer_probabilities(tree({"": {"the": 1.0}}), ["comedy", "action"]) is None


def token(text: str, share: float, **others: float) -> TokenLogprob:
    top = [TopLogprob(token=other, logprob=math.log(p)) for other, p in {text: share, **others}.items()]
    return TokenLogprob(token=text, logprob=math.log(share), top=tuple(top))


def test_what_could_have_been_written_is_read_where_the_answer_begins() -> None:
    written = [token('{"', 1.0), token("response", 1.0), token('": "', 1.0), token("com", 0.7, act=0.3), token('"}', 1)]
    found = answer_probabilities(written_tokens(written, "response"), ["comedy", "action"])
    assert found == pytest.approx({"comedy": 0.7, "action": 0.3})


def test_a_token_may_begin_before_the_answer() -> None:
    written = [token('{"response":', 1.0), token(' "com', 0.7, **{' "act': 0.3}), token("edy", 1.0)]
    found = answer_probabilities(written_tokens(written, "response"), ["comedy", "action"])
    assert found == pytest.approx({"comedy": 0.7, "action": 0.3})


def test_a_text_without_the_field_is_the_answer() -> None:
    found = answer_probabilities(written_tokens([token("4", 0.6, **{"5": 0.4})], "response"), ["4", "5"])
    assert found == pytest.approx({"4": 0.6, "5": 0.4})


@given(some.lists(some.text(min_size=1, max_size=6), min_size=1, max_size=6, unique=True), some.data())
def test_whatever_the_lm_says_the_probabilities_sum_to_1(answers: list[str], data: some.DataObject) -> None:
    tokens = some.dictionaries(some.binary(min_size=1, max_size=3), some.floats(0.01, 1), max_size=6)

    def next_tokens(begun: bytes) -> dict[bytes, float]:
        likely = {answer.encode()[len(begun) :][:1] or b'"': 0.5 for answer in answers if begun in answer.encode()}
        return {**data.draw(tokens), **likely}

    found = answer_probabilities(next_tokens, answers)
    if found is not None:
        assert list(found) == answers
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) >= 0
