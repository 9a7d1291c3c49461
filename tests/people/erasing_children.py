"""Opens a home folder and erases a user in a child process, once for each folder that is named on standard input.

Everything is imported once, so that a child erases at once. It says its process id when it begins.
"""

import os
import sys
from pathlib import Path

import chromadb
import mlflow.entities

from personaagent import lms
from personaagent.home import Home
from personaagent.people import erase
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

PRELOADED = (chromadb, mlflow.entities)


def say(what: object) -> None:
    """Write a line to whoever kills."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def erased(folder: Path, user_id: str) -> None:
    """Erase a user, and say when it begins and that it is done."""
    lms.open_embedder = lambda _name: HashEmbedder()
    with Home(Settings(home=folder)) as home:
        say(os.getpid())
        erase(home, user_id)
    say("done")


def main() -> None:
    """Erase in children until standard input ends."""
    user_id = sys.argv[1]
    say("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            erased(Path(line.strip()), user_id)
            os._exit(0)
        os.waitpid(child, 0)
        say("over")


if __name__ == "__main__":
    main()
