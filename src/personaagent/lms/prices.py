"""What tokens of a model cost: from the setting, else from DSPy's copy of LiteLLM's table, else not known."""

from typing import TYPE_CHECKING, NamedTuple

from ..data.errors import InputError

if TYPE_CHECKING:
    import dspy


class Price(NamedTuple):
    """Dollars for one token of a prompt and of an answer."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the dollars for so many tokens."""
        return self.prompt * prompt_tokens + self.completion * completion_tokens


FREE = Price(0.0, 0.0)


def price_of(lm: "dspy.LM", setting: str | None = None) -> Price | None:
    """Return the price of an LM's tokens; None if it is not known.

    Args:
        lm: The LM.
        setting: `2.5,10`: dollars for a million tokens of prompts and of answers. It goes before the table.

    Raises:
        InputError: The setting is not two numbers.
    """
    if not isinstance(lm.engine, str):
        return FREE  # An engine in this process, and nobody sends a bill.
    return _priced(setting) if setting is not None else _listed(lm.model)


def _priced(setting: str) -> Price:
    try:
        prompt, completion = (float(number) / 1_000_000 for number in setting.split(","))
    except ValueError as error:
        raise InputError(
            f"the price is {setting!r}: write dollars for a million tokens of prompts and of answers, like 2.5,10"
        ) from error
    return Price(prompt, completion)


def _listed(model: str) -> Price | None:
    from dspy.clients.model_metadata import model_info, rate

    provider, _, name = model.partition("/")
    info = model_info(provider, name)
    prompt, completion = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    return None if prompt is None or completion is None else Price(prompt, completion)
