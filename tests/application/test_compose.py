"""compose.yaml and Dockerfile, as far as they can be held to without an engine: what they name is there.

1. Every service, volume, network, file, program, option and setting that is named exists.
2. No password and no key is written down or has a default.
3. Under these settings several processes may share the home, and the checks of health find the server.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from personaagent.cli import app
from personaagent.home import is_shared
from personaagent.lms.models import MODELS, MODELS_VARIABLE
from personaagent.settings import Settings

from ..chroma import CHROMA

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CHECKED = sorted(name for name, service in SERVICES.items() if "healthcheck" in service)


def program(service: str) -> list[str]:
    return [re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in SERVICES[service]["command"]]


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def test_each_service_waits_until_the_others_are_there() -> None:
    once = {name for name, service in SERVICES.items() if "restart" in service and "on-failure" in service["restart"]}
    assert set(CHECKED) == SERVICES.keys() - once
    assert SERVICES["personaagent"]["depends_on"] == {
        name: {"condition": "service_completed_successfully" if name in once else "service_healthy"}
        for name in SERVICES.keys() - {"personaagent"}
    }


def test_volumes_and_networks_are_declared_and_used() -> None:
    mounted = {mount.partition(":")[0] for service in SERVICES.values() for mount in service["volumes"]}
    joined = {network for service in SERVICES.values() for network in service["networks"]}
    assert mounted == COMPOSE["volumes"].keys()
    assert joined == COMPOSE["networks"].keys()


def test_only_the_server_is_reached_from_outside_and_only_from_this_machine() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["personaagent"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["personaagent"]["ports"])
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert outside == {"personaagent", "models"}


def test_images_are_built_here_or_of_one_version() -> None:
    for service in SERVICES.values():
        assert service.get("build") == "." or re.fullmatch(r"[a-z]+:\d+", service["image"])
    assert len(set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))) == 1


def test_no_password_is_written_down_or_has_a_default() -> None:
    given = [pair for service in SERVICES.values() for pair in service.get("environment", {}).items()]
    secret = [value for name, value in given if re.search("PASSWORD|KEY|TOKEN$|SECRET", name)]
    assert len(secret) == 4
    assert all(value is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in secret)
    assert not [value for _, value in given if re.search(r"://[^/@]*:[^/@]*@", value or "")]


def test_the_settings_are_ours_and_let_workers_share_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PERSONAAGENT_")]:
        monkeypatch.delenv(name)
    in_image = dict(re.findall(r"(PERSONAAGENT_\w+)=(\S+)", DOCKERFILE))
    named = {**in_image, **SERVICES["personaagent"]["environment"]}
    ours = {name: value for name, value in named.items() if name.startswith("PERSONAAGENT_")}
    assert ours.keys() <= {MODELS_VARIABLE, *(f"PERSONAAGENT_{name.upper()}" for name in Settings.model_fields)}
    for name, value in ours.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    assert is_shared(Settings())
    for folder in ("personaagent/home", "personaagent/models", "chroma", "mlflow"):
        assert f"/var/lib/{folder}" in DOCKERFILE.split("install --directory")[1].partition("\nCOPY")[0]
    targets = {mount.split(":")[1] for name in SERVICES if name != "postgres" for mount in SERVICES[name]["volumes"]}
    assert {ours["PERSONAAGENT_HOME"], ours[MODELS_VARIABLE]} <= targets


def test_the_servers_command_line_exists() -> None:
    command, verb, *rest = program("personaagent")
    serve = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    known = {name for parameter in serve.params for name in parameter.opts}
    assert command == "personaagent"
    assert options(rest) <= known
    assert int(rest[rest.index("--workers") + 1]) > 1


def test_the_models_that_are_fetched_exist() -> None:
    *verbs, name = program("models")
    assert verbs == ["personaagent", "models", "fetch"]
    assert name in MODELS


def test_chromas_command_line_exists() -> None:
    command, verb, *rest = program("chroma")
    ran = subprocess.run(
        [sys.executable, "-c", CHROMA, verb, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert command == "chroma"
    assert options(rest) <= set(re.findall(r"--[a-z-]+", ran.stdout))


@pytest.mark.slow
def test_mlflows_command_line_exists() -> None:
    command, verb, *rest = program("mlflow")
    help_page = [sys.executable, "-m", command, verb, "--help"]
    ran = subprocess.run(help_page, capture_output=True, text=True, check=True, timeout=120)
    assert options(rest) <= set(re.findall(r"--[a-z-]+", ran.stdout))


def test_the_check_of_chromas_health_finds_a_server(chroma_server: str) -> None:
    [_, *check] = SERVICES["chroma"]["healthcheck"]["test"]
    here = [word.replace("http://127.0.0.1:8000", chroma_server) for word in check]
    assert here != check
    subprocess.run([sys.executable, *here[1:]], check=True, timeout=60)


@pytest.mark.parametrize("service", ["personaagent", "chroma", "mlflow"])
def test_a_check_of_health_asks_the_port_that_the_service_listens_at(service: str) -> None:
    asked = re.search(r"127\.0\.0\.1:(\d+)", SERVICES[service]["healthcheck"]["test"][-1])
    listens = re.search(r"--port[ =](\d+)", " ".join(program(service)))
    assert asked and listens
    assert asked[1] == listens[1]


def test_the_image_is_built_from_every_room_and_nothing_else() -> None:
    rooms = {"src", *(link.name for link in (ROOT / "src" / "personaagent").iterdir() if link.is_symlink())}
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == rooms | {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "requirements.lock"}
    assert all((ROOT / name).exists() for name in sent)


def test_what_the_image_installs_first_is_locked() -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {"uv", "setuptools", "psycopg", "chromadb", "mlflow"} <= locked
