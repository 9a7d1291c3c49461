"""Who proposes a change of a persona, a file each."""

from .proposing import Case, Proposer, Seen
from .rules import ProposeRules, asks_rules
from .weights import ProposeUnfittedWeights, ProposeWeights

__all__ = ["Case", "ProposeRules", "ProposeUnfittedWeights", "ProposeWeights", "Proposer", "Seen", "asks_rules"]
