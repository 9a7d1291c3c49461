"""Opens a home folder in a child process, once for each that is named on standard input, and erases a user if told to.

Everything is imported once, so that a child begins at once: it says its process id. One that only opens the folder is
told nothing of the user who was erased, so that it cannot leave anything; it says whose keys are stored.
"""

import os
import sys
from pathlib import Path

import chromadb
import mlflow.entities

from personaagent import lms
from personaagent.erasure import erase
from personaagent.home import Home
from personaagent.settings import Settings
from personaagent.testing import HashEmbedder

PRELOADED = (chromadb, mlflow.entities)


def say(what: object) -> None:
    """Write a line to whoever kills."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def opened(folder: Path, user_id: str | None) -> None:
    """Open a home folder, and erase a user."""
    lms.open_embedder = lambda _name: HashEmbedder()
    with Home(Settings(home=folder)) as home:
        say(os.getpid())
        if user_id is not None:
            erase(home, user_id)
        for user in home.store.users():
            user.memory.recall("question 2 plain", 3)
        keys = " ".join(user.key for user in home.store.users())
    say(f"done {keys}")


def main() -> None:
    """Open folders in children until standard input ends."""
    user_id = sys.argv[1] if len(sys.argv) > 1 else None
    say("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            opened(Path(line.strip()), user_id)
            os._exit(0)
        os.waitpid(child, 0)
        say("over")


if __name__ == "__main__":
    main()
