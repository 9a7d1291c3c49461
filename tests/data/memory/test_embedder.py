"""The embedded embedder: its files and its vectors. Live tests need the two files that `models fetch` gets."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from personaagent.data.errors import ModelFileError
from personaagent.data.memory.embedder import Embedder, MiniLmEmbedder, is_unknown
from personaagent.lms.models import MODELS
from personaagent.testing import HashEmbedder

MODEL, TOKENIZER = MODELS["minilm"].locations
live = pytest.mark.live


@pytest.fixture(scope="module")
def minilm() -> MiniLmEmbedder:
    for file in (MODEL, TOKENIZER):
        if not file.exists():
            pytest.skip(f"{file} is missing: run `personaagent models fetch`")
    return MiniLmEmbedder(MODEL, TOKENIZER)


def test_a_missing_file_is_named_at_first_use(tmp_path: Path) -> None:
    embedder = MiniLmEmbedder(tmp_path / "model.onnx", tmp_path / "tokenizer.json")
    with pytest.raises(ModelFileError, match=r"model\.onnx.*cannot be read.*models fetch"):
        embedder.embed(["a film"])


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    (model := tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ModelFileError, match=re.escape(str(model)) + ".*sha256.*expected"):
        _ = MiniLmEmbedder(model, tmp_path / "tokenizer.json").fingerprint


@live
def test_a_vector_has_length_one_and_384_dimensions(minilm: MiniLmEmbedder) -> None:
    embedder: Embedder = minilm
    vectors = embedder.embed(["a film", "", "x" * 100, "caf\u00e9 \U0001f40d"])
    assert (vectors.shape, vectors.dtype) == ((4, embedder.dimensions), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


@live
def test_the_fingerprint_is_that_of_the_two_files_and_the_pooling(minilm: MiniLmEmbedder) -> None:
    assert minilm.fingerprint == MiniLmEmbedder(MODEL, TOKENIZER).fingerprint
    assert re.fullmatch("[0-9a-f]{16}", minilm.fingerprint)


@live
def test_no_other_text_changes_a_vector(minilm: MiniLmEmbedder) -> None:
    # Not by one bit: what is found must not hang on what else was embedded at that moment.
    texts = [f"{'long ' * (place % 7)}film number {place}" for place in range(20)]
    together = minilm.embed(texts)
    with ThreadPoolExecutor(len(texts)) as threads:
        in_threads = list(threads.map(lambda text: minilm.embed([text])[0], texts))
    alone = [MiniLmEmbedder(MODEL, TOKENIZER).embed([text])[0] for text in texts[:3]]
    np.testing.assert_array_equal(together, in_threads)
    np.testing.assert_array_equal(together[:3], alone)


@live
def test_what_means_the_same_is_nearer(minilm: MiniLmEmbedder) -> None:
    war, battle, soup = minilm.embed(["a film about war", "a movie set in a battle", "a recipe for soup"])
    assert war @ battle > 0.5 > war @ soup


@live
def test_only_the_first_256_tokens_count(minilm: MiniLmEmbedder) -> None:
    start = "word " * 300
    cut, longer = minilm.embed([start, start + "and then something quite different " * 50_000])
    assert cut @ longer == pytest.approx(1.0, abs=1e-4)


@live
def test_changing_a_vector_that_was_given_changes_no_later_one(minilm: MiniLmEmbedder) -> None:
    first = minilm.embed(["a film"])
    first[:] = 0
    assert np.linalg.norm(minilm.embed(["a film"])) == pytest.approx(1.0, abs=1e-5)


@live
def test_no_texts_give_no_vectors(minilm: MiniLmEmbedder) -> None:
    assert minilm.embed([]).shape == (0, 384)


@live
@pytest.mark.parametrize(
    "text",
    [
        "ร้านชาเงียบๆ แถวนี้",
        "静かな喫茶店はどこ",
        "安静的茶馆在哪里",
        "🍵🌅 🐟",
        "조용한 찻집",
        "Тихая чайная",
        "ಶಾಂತ ಚಹಾ",
    ],
    ids=["Thai", "Japanese", "Chinese", "emoji", "Korean", "Russian", "Kannada"],
)
def test_it_has_no_words_for_a_script_that_it_was_not_trained_on(minilm: MiniLmEmbedder, text: str) -> None:
    assert minilm.unknown_share(text) > 0.8
    assert is_unknown(minilm, text)


@live
@pytest.mark.parametrize(
    "text", ["A quiet tea house?", "Un salon de thé où être tranquille", "Loved the 🍵 at “Nakano” tonight", ""]
)
def test_it_has_words_for_latin_letters_with_or_without_accents(minilm: MiniLmEmbedder, text: str) -> None:
    assert minilm.unknown_share(text) < 0.2


def test_an_embedder_that_does_not_say_is_taken_to_know_all_words() -> None:
    assert not is_unknown(HashEmbedder(), "ร้านชา")
