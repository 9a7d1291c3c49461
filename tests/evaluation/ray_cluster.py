"""A Ray cluster of two nodes on this machine, in a process of its own: one node can be frozen, thawed and killed.

Run as a program it starts the nodes, prints the address, and does what each line of its input says: `freeze` stops what
the second node's workers do, `thaw` lets them go on, `kill` ends every process of that node at once. It answers each
line with one, and ends when its input does.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

_START_SECONDS = 120
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True)
class RayCluster:
    """A cluster that is up, with one CPU on each of two nodes."""

    address: str
    _process: "subprocess.Popen[str]"

    def freeze(self) -> None:
        """Stop the second node's workers where they are."""
        self._tell("freeze")

    def thaw(self) -> None:
        """Let them go on."""
        self._tell("thaw")

    def kill(self) -> None:
        """End the second node at once."""
        self._tell("kill")

    def _tell(self, order: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"done: {order}\n"


@contextmanager
def ray_cluster(environment: Mapping[str, str]) -> Generator[RayCluster]:
    """Run a cluster while the block does; every process of it is gone afterwards.

    Args:
        environment: What the nodes' processes see beside this process's own.
    """
    # Ray's sockets need a short path.
    folder = Path(mkdtemp(prefix="personaagent-ray-", dir="/tmp"))
    variables = {**os.environ, **_QUIET, **environment, "RAY_TMPDIR": str(folder)}
    command = [sys.executable, __file__]
    try:
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(
                command, env=variables, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            ) as process,
        ):
            assert process.stdin is not None and process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, f"Ray did not start: {(folder / 'log').read_text()}"
            yield RayCluster(address, process)
            process.stdin.close()
            assert process.wait(_START_SECONDS) == 0, (folder / "log").read_text()
    finally:
        shutil.rmtree(folder)


class _Nodes:
    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # What the tests do not look at takes most of the time that a start needs.
        spare: dict[str, Any] = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **spare})
        self.address = self._cluster.address
        self._second = self._cluster.add_node(num_cpus=1)

    def freeze(self) -> None:
        self._signal_workers(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_workers(signal.SIGCONT)

    def kill(self) -> None:
        killed = [*self._workers()]
        self._second.kill_raylet()
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._cluster.remove_node(self._second, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()

    def _workers(self) -> Iterator[int]:
        [raylet] = self._second.all_processes["raylet"]
        return _children(raylet.process.pid)

    def _signal_workers(self, number: signal.Signals) -> None:
        for pid in self._workers():
            os.kill(pid, number)


def _children(parent: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(folder.name)


def _main() -> None:
    nodes = _Nodes()
    try:
        print(nodes.address, flush=True)  # noqa: T201
        for line in sys.stdin:
            getattr(nodes, line.strip())()
            print(f"done: {line.strip()}", flush=True)  # noqa: T201
    finally:
        nodes.close()


if __name__ == "__main__":
    _main()
