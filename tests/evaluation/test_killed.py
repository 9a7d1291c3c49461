"""An evaluation that is killed in the middle comes to the same and pays once: on one machine, and on a Ray cluster.

The cluster is a real one of two nodes. All evaluations have one journal, in PostgreSQL.
"""

import time
from collections.abc import Iterator

import pytest

from personaagent.data.store import Store
from personaagent.data.store.journal import Journal

from ..journal.deterministic_lm import deterministic_lm
from ..postgres import PostgresServer
from .evaluations import LATENCY_SECONDS, Evaluations, Outcome, check, lost, write_users
from .ray_cluster import RayCluster, ray_cluster

CONCURRENCY, WORKERS = 4, 2


@pytest.fixture(scope="module")
def environment(postgres: PostgresServer) -> dict[str, str]:
    """What every machine has in its environment."""
    return {"PERSONAAGENT_DATABASE": postgres.new_url(), "OPENAI_API_KEY": "made-up-key"}


@pytest.fixture(scope="module")
def journal(environment: dict[str, str]) -> Iterator[Journal]:
    with Store.open(environment["PERSONAAGENT_DATABASE"]) as store:
        yield store.journal


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str]) -> Iterator[RayCluster]:
    with ray_cluster(environment) as up:
        yield up


@pytest.fixture(scope="module")
def evaluations(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluations]:
    folder = tmp_path_factory.mktemp("evaluations")
    write_users(folder / "LaMP-2M")
    log = folder / "requests.jsonl"
    with deterministic_lm(LATENCY_SECONDS, log) as api_base:
        yield Evaluations(folder, api_base, log, environment)


@pytest.fixture(scope="module")
def local(evaluations: Evaluations) -> Outcome:
    return evaluations.whole("local", "--concurrency", str(CONCURRENCY))


def kill_a_node_in_a_call(cluster: RayCluster, journal: Journal, run_id: str) -> None:
    """Kill the second node while its worker waits for the LM: frozen, its call stays open while others end."""
    while True:
        cluster.freeze()
        under_way = {call.key for call in journal.lost(run_id)}
        time.sleep(3 * LATENCY_SECONDS)
        if under_way & {call.key for call in journal.lost(run_id)}:
            cluster.kill()
            return
        cluster.thaw()
        time.sleep(LATENCY_SECONDS / 4)


@pytest.mark.slow
def test_a_process_that_is_killed_in_the_middle_comes_to_the_same_when_it_is_begun_again(
    evaluations: Evaluations, journal: Journal, local: Outcome
) -> None:
    killed = evaluations.killed_in_the_middle("process", "--concurrency", str(CONCURRENCY))
    lost_calls = lost(journal, "process")
    check(killed, local, lost_calls)
    assert lost_calls.total() <= CONCURRENCY


@pytest.mark.soak
def test_a_driver_that_is_killed_in_the_middle_comes_to_the_same_when_it_is_begun_again(
    cluster: RayCluster, evaluations: Evaluations, journal: Journal, local: Outcome
) -> None:
    killed = evaluations.killed_in_the_middle("driver", "--engine", "ray", "--address", cluster.address)
    lost_calls = lost(journal, "driver")
    check(killed, local, lost_calls)
    assert lost_calls.total() <= WORKERS


@pytest.mark.slow
def test_a_node_that_is_killed_in_the_middle_changes_nothing_and_costs_its_calls_under_way(
    cluster: RayCluster, evaluations: Evaluations, journal: Journal, local: Outcome
) -> None:
    before = evaluations.asked
    process = evaluations.begun("node", "--engine", "ray", "--address", cluster.address)
    evaluations.wait_for_requests(4, before, process)
    kill_a_node_in_a_call(cluster, journal, "node")
    killed = evaluations.finished(process, before)
    lost_calls = lost(journal, "node")
    check(killed, local, lost_calls)
    assert lost_calls.total() == 1
