"""The store: what every user said, did and was told, and every persona version.

It is the truth: memory's index and MLflow are copies that can be made again from it. What it acknowledges is on disk.
"""

from .alignments import AlignmentLog
from .idempotency import IdempotencyLog
from .interactions import InteractionLog
from .keys import KeyRing
from .personas import PersonaLog, Promotion
from .statements import StatementLog
from .store import Store
from .usage import UsageLedger
from .user import User, user_key

__all__ = [
    "AlignmentLog",
    "IdempotencyLog",
    "InteractionLog",
    "KeyRing",
    "PersonaLog",
    "Promotion",
    "StatementLog",
    "Store",
    "UsageLedger",
    "User",
    "user_key",
]
