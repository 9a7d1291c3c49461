"""The store: what every user said, did and was told, and every persona version.

It is the truth: memory's index and MLflow are copies that can be made again from it.
"""

from .idempotency import IdempotencyLog
from .interactions import InteractionLog
from .keys import KeyRing, UsageLedger
from .log import user_key
from .personas import AlignmentLog, PersonaLog, Promotion
from .statements import StatementLog
from .store import Store, User

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
