from typing import Any

from dspy import Signature

class DSPyError(Exception):
    message: str
    code: str | None
    model: str | None
    provider: str | None
    provider_code: str | None
    status: int | None
    request_id: str | None
    retry_after: float | None
    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        provider_code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None: ...

class LMError(DSPyError): ...
class LMTransportError(LMError): ...
class LMConfigurationError(LMError): ...
class LMNotConfiguredError(LMConfigurationError): ...
class LMUnsupportedFeatureError(LMError): ...
class LMProviderError(LMError): ...
class LMUnexpectedError(LMError): ...
class LMAuthError(LMProviderError): ...
class LMRateLimitError(LMProviderError): ...
class LMInvalidRequestError(LMProviderError): ...
class ContextWindowExceededError(LMInvalidRequestError): ...
class LMTimeoutError(LMProviderError): ...
class LMServerError(LMProviderError): ...

class AdapterParseError(DSPyError):
    adapter_name: str
    # DSPy writes Signature, and hands over the class.
    signature: type[Signature]
    lm_response: str
    parsed_result: dict[str, Any] | None
    def __init__(
        self,
        adapter_name: str,
        signature: type[Signature],
        lm_response: str,
        message: str | None = None,
        parsed_result: dict[str, Any] | None = None,
    ) -> None: ...

def is_retryable_lm_error(error: BaseException) -> bool: ...
