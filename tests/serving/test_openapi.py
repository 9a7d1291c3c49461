"""Every call of the OpenAPI document, with whatever its schemas allow and what they do not: no server error, and no
answer that is not in the document."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from personaagent.testing import ScriptedLM

from .conftest import ANSWERS, Server, serving

pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:hypothesis.errors.HypothesisDeprecationWarning"
)
Key = dict[str, str]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]


@pytest.fixture(scope="module")
def up() -> Iterator[tuple[Server, Key]]:
    with serving(ScriptedLM(ANSWERS)) as server:
        key = server.key_of("maya")
        for number in range(3):
            new = {"query": f"film {number}?", "ground_truth": "noir", "id": str(number)}
            server.client.post("/v1/interactions", json=new, headers=key)
        yield server, key


def check_all(up: tuple[Server, Key], examples: int) -> int:
    """Send so many cases, valid and invalid ones, to each call of the document, and return how many there were."""
    server, key = up
    document = schemathesis.openapi.from_url(f"{server.client.base_url}/openapi.json", headers=key)
    sent = 0
    operations: Any = document.get_all_operations()
    for operation in operations:
        call = operation.ok()
        for mode in GenerationMode:

            @settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            @given(case=call.as_strategy(generation_mode=mode))
            def check(case: Case) -> None:
                nonlocal sent
                sent += 1
                case.call_and_validate(headers=key, checks=CHECKS)

            check()
    return sent


@pytest.mark.slow
def test_the_server_does_what_its_document_says(up: tuple[Server, Key]) -> None:
    assert check_all(up, examples=6) > 100


@pytest.mark.soak
def test_the_server_does_what_its_document_says_however_often(up: tuple[Server, Key]) -> None:
    print(f"{check_all(up, examples=200)} requests")  # noqa: T201


def test_the_document_has_an_example_for_every_body(up: tuple[Server, Key]) -> None:
    server, _ = up
    document = server.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            assert call["summary"], f"{method} {path}"
            if "requestBody" in call:
                name = call["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert schemas[name]["examples"], name
