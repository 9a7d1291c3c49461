"""The LM that programs ask here: that of the DSPy context."""

import dspy

from ..data.errors import SetupError


def model_here() -> str:
    """Return the name of the context's LM.

    Raises:
        SetupError: There is no LM.
    """
    lm = dspy.settings.lm
    if lm is None:
        raise SetupError("no LM is configured: do this inside `with home.run():` or `with dspy.context(lm=...):`")
    return lm.model
