"""DSPy's errors of LMs as PersonaAgent's: the model, what happened, what to do."""

import re
from collections.abc import Generator
from contextlib import contextmanager

import dspy

from ..data.call import as_written
from ..data.errors import LateError, LMError, PersonaAgentError, TooLongError, did_you_mean, without_secrets

_ADVICE: tuple[tuple[type[dspy.LMError], str], ...] = (
    (dspy.LMNotConfiguredError, "set the key variable of its provider, or name another LM"),
    (dspy.LMAuthError, "check the key in the key variable of its provider"),
    (dspy.ContextWindowExceededError, "give it fewer or shorter inputs, or an LM that reads more"),
    (dspy.LMRateLimitError, "wait, or make fewer calls at once"),
    (dspy.LMTimeoutError, "try again, ask a faster LM, or allow it more time with PERSONAAGENT_LM_TIMEOUT"),
    (dspy.LMTransportError, "check that the server is up and that its address is right"),
    (dspy.LMServerError, "try again later"),
    (dspy.LMInvalidRequestError, "check the name of the model and what its server takes"),
    (dspy.LMConfigurationError, "check the name of the model and its settings"),
)
"""What to do about each kind; a kind stands before the kinds that it is a case of."""
_NO_PROVIDER = "LLM Provider NOT provided"
"""What LiteLLM says of a name that begins with no provider that it knows."""
_KEY_VARIABLE = re.compile(r"\b[A-Z0-9_]+_API_KEY\b")
_PROVIDERS = (
    *("embedded", "openai", "anthropic", "gemini", "vertex_ai", "azure", "bedrock", "mistral", "groq", "deepseek"),
    *("xai", "ollama_chat", "openrouter", "together_ai", "fireworks_ai", "hosted_vllm", "lm_studio", "huggingface"),
)
"""Those that a misspelt name most likely means; LiteLLM knows more."""
_KINDS = {dspy.ContextWindowExceededError: TooLongError, dspy.LMTimeoutError: LateError}


@contextmanager
def lm_errors() -> Generator[None]:
    """Raise errors of DSPy's LMs as `LMError`, which says what to do and shows no key.

    An error of ours that an engine raised, and DSPy took for an unexpected one of the LM, comes out as it was.
    """
    try:
        yield
    except dspy.LMError as error:
        if isinstance(error.__cause__, PersonaAgentError):
            raise error.__cause__ from None
        raise lm_error(error) from error


def lm_error(error: dspy.LMError) -> LMError:
    """Return DSPy's error as ours: the model, what happened, what to do."""
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "see the log for details")
    first_paragraph = (error.message or type(error).__name__).partition("\n\n")[0]
    happened = " ".join(first_paragraph.split())
    name = as_written(error.model) if error.model else "the LM"
    if isinstance(error, dspy.LMNotConfiguredError) and (variable := _KEY_VARIABLE.search(happened)):
        happened, advice = "there is no API key", f"set {variable.group()}, or name another LM"
    if _NO_PROVIDER in happened:
        provider = name.partition("/")[0]
        happened = f"no provider is called {provider!r}"
        advice = f"write PROVIDER/MODEL, such as openai/gpt-4.1-mini, or embedded{did_you_mean(provider, _PROVIDERS)}"
    kind = next((ours for theirs, ours in _KINDS.items() if isinstance(error, theirs)), LMError)
    ours = kind(without_secrets(f"{name}: {happened.rstrip('.')}: {advice}"))
    ours.retryable = dspy.is_retryable_lm_error(error)
    return ours
