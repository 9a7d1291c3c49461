"""Who proposes a change of a persona, a file each. Most ask no LM."""

from .confusions import ProposeConfusions
from .proposing import Case, Proposer, Seen
from .rules import ProposeRules
from .style import ProposeStyle
from .weights import ProposeUnfittedWeights, ProposeWeights

__all__ = [
    "Case",
    "ProposeConfusions",
    "ProposeRules",
    "ProposeStyle",
    "ProposeUnfittedWeights",
    "ProposeWeights",
    "Proposer",
    "Seen",
]
