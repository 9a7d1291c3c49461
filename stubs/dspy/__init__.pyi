# What we use of DSPy 3.4, as its source has it. A field of a prediction or an example has the type that the program
# gave it, which no checker can see: Any.

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, Literal, Self

from numpy import float32
from numpy.typing import NDArray
from pydantic.fields import FieldInfo

from . import lm15 as lm15
from . import teleprompt as teleprompt
from .predict.parameter import Parameter
from .utils.exceptions import AdapterParseError as AdapterParseError
from .utils.exceptions import ContextWindowExceededError as ContextWindowExceededError
from .utils.exceptions import DSPyError as DSPyError
from .utils.exceptions import LMAuthError as LMAuthError
from .utils.exceptions import LMConfigurationError as LMConfigurationError
from .utils.exceptions import LMError as LMError
from .utils.exceptions import LMInvalidRequestError as LMInvalidRequestError
from .utils.exceptions import LMNotConfiguredError as LMNotConfiguredError
from .utils.exceptions import LMProviderError as LMProviderError
from .utils.exceptions import LMRateLimitError as LMRateLimitError
from .utils.exceptions import LMServerError as LMServerError
from .utils.exceptions import LMTimeoutError as LMTimeoutError
from .utils.exceptions import LMTransportError as LMTransportError
from .utils.exceptions import LMUnexpectedError as LMUnexpectedError
from .utils.exceptions import LMUnsupportedFeatureError as LMUnsupportedFeatureError
from .utils.exceptions import is_retryable_lm_error as is_retryable_lm_error

__version__: str

# Signatures

def InputField(*, desc: str = ..., **constraints: Any) -> Any: ...
def OutputField(*, desc: str = ..., **constraints: Any) -> Any: ...

class SignatureMeta(type):
    instructions: str
    @property
    def signature(cls) -> str: ...
    @property
    def fields(cls) -> dict[str, FieldInfo]: ...
    @property
    def input_fields(cls) -> dict[str, FieldInfo]: ...
    @property
    def output_fields(cls) -> dict[str, FieldInfo]: ...

class Signature(metaclass=SignatureMeta):
    @classmethod
    def with_instructions(cls, instructions: str) -> type[Signature]: ...
    @classmethod
    def append_instructions(cls, instructions: str) -> type[Signature]: ...
    @classmethod
    def with_updated_fields(cls, name: str, type_: Any = None, **kwargs: Any) -> type[Signature]: ...
    @classmethod
    def prepend(cls, name: str, field: Any, type_: Any = None) -> type[Signature]: ...
    @classmethod
    def append(cls, name: str, field: Any, type_: Any = None) -> type[Signature]: ...
    @classmethod
    def insert(cls, index: int, name: str, field: Any, type_: Any = None) -> type[Signature]: ...
    @classmethod
    def delete(cls, name: str) -> type[Signature]: ...
    @classmethod
    def equals(cls, other: type[Signature]) -> bool: ...
    @classmethod
    def dump_state(cls) -> dict[str, Any]: ...
    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> type[Signature]: ...

# Examples and predictions

class Example:
    def __init__(self, base: Example | Mapping[str, Any] | None = None, **kwargs: Any) -> None: ...
    def __getattr__(self, key: str) -> Any: ...
    def __setattr__(self, key: str, value: Any) -> None: ...
    def __getitem__(self, key: str) -> Any: ...
    def __contains__(self, key: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def keys(self, include_dspy: bool = False) -> list[str]: ...
    def items(self, include_dspy: bool = False) -> list[tuple[str, Any]]: ...
    def get(self, key: str, default: Any = None) -> Any: ...
    def with_inputs(self, *keys: str) -> Self: ...
    def inputs(self) -> Self: ...
    def labels(self) -> Self: ...
    def copy(self, **kwargs: Any) -> Self: ...
    def without(self, *keys: str) -> Self: ...
    def toDict(self) -> dict[str, Any]: ...

class Prediction(Example):
    def get_lm_usage(self) -> dict[str, dict[str, Any]] | None: ...
    def set_lm_usage(self, value: dict[str, dict[str, Any]]) -> None: ...

# Modules

class Module:
    history: list[Any]
    _compiled: bool
    def __init__(self, callbacks: Sequence[Any] | None = None) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Prediction: ...
    async def acall(self, *args: Any, **kwargs: Any) -> Prediction: ...
    def named_parameters(self) -> list[tuple[str, Parameter]]: ...
    def parameters(self) -> list[Parameter]: ...
    def named_sub_modules(
        self, type_: type | None = None, skip_compiled: bool = False
    ) -> Generator[tuple[str, Module]]: ...
    def named_predictors(self) -> list[tuple[str, Predict]]: ...
    def predictors(self) -> list[Predict]: ...
    def map_named_predictors(self, func: Callable[[Predict], Predict]) -> Self: ...
    def set_lm(self, lm: BaseLM | None) -> None: ...
    def get_lm(self) -> BaseLM | None: ...
    def deepcopy(self) -> Self: ...
    def reset_copy(self) -> Self: ...
    # What a state holds is up to each parameter: a subclass says so in its own types.
    def dump_state(self, json_mode: bool = True) -> dict[str, Any]: ...
    def load_state(self, state: Any, *, allow_unsafe_lm_state: bool = False) -> Any: ...
    def save(
        self, path: str | PathLike[str], save_program: bool = False, modules_to_serialize: Sequence[Any] | None = None
    ) -> None: ...
    def load(
        self, path: str | PathLike[str], allow_pickle: bool = False, allow_unsafe_lm_state: bool = False
    ) -> None: ...

class Predict(Module, Parameter):
    signature: type[Signature]
    demos: list[Any]
    fields: dict[str, dict[str, Any]]
    lm: BaseLM | None
    config: dict[str, Any]
    def __init__(
        self, signature: str | type[Signature], callbacks: Sequence[Any] | None = None, **config: Any
    ) -> None: ...
    def reset(self) -> None: ...

class ChainOfThought(Module):
    predict: Predict
    def __init__(self, signature: str | type[Signature], **config: Any) -> None: ...

# Language models

class BaseLM:
    model: str
    kwargs: dict[str, Any]
    history: list[dict[str, Any]]
    model_type: str
    cache: bool
    callbacks: list[Any]
    num_retries: int
    @property
    def supports_function_calling(self) -> bool: ...
    @property
    def supports_response_schema(self) -> bool: ...
    @property
    def supported_params(self) -> set[str]: ...
    def __call__(
        self, prompt: str | None = None, *, messages: Sequence[Mapping[str, Any]] | None = None, **kwargs: Any
    ) -> list[Any]: ...
    async def acall(
        self, prompt: str | None = None, *, messages: Sequence[Mapping[str, Any]] | None = None, **kwargs: Any
    ) -> list[Any]: ...
    def copy(self, **kwargs: Any) -> Self: ...
    def dump_state(self) -> dict[str, Any]: ...
    @classmethod
    def load_state(cls, state: dict[str, Any], *, allow_custom_lm_class: bool = False) -> BaseLM: ...

class LM(BaseLM):
    def __init__(
        self,
        model: str,
        model_type: Literal["chat", "text", "responses"] = "chat",
        temperature: float | None = None,
        max_tokens: int | None = None,
        cache: bool = True,
        callbacks: Sequence[Any] | None = None,
        num_retries: int = 3,
        *,
        use_developer_role: bool = False,
        engine: object = "auto",
        async_engine: object = None,
        **kwargs: Any,
    ) -> None: ...
    @property
    def engine(self) -> Any: ...
    def close(self) -> None: ...
    async def aclose(self) -> None: ...

class Embedder:
    model: str | Callable[..., Any]
    def __init__(
        self, model: str | Callable[..., Any], batch_size: int = 200, caching: bool = True, **kwargs: Any
    ) -> None: ...
    def __call__(
        self, inputs: str | list[str], batch_size: int | None = None, caching: bool | None = None, **kwargs: Any
    ) -> NDArray[float32]: ...
    async def acall(
        self, inputs: str | list[str], batch_size: int | None = None, caching: bool | None = None, **kwargs: Any
    ) -> NDArray[float32]: ...

# Adapters

class Adapter:
    callbacks: list[Any]
    use_native_function_calling: bool
    def __init__(
        self,
        callbacks: Sequence[Any] | None = None,
        use_native_function_calling: bool = False,
        native_response_types: Sequence[type] | None = None,
        parallel_tool_calls: bool | None = None,
    ) -> None: ...
    def format(
        self, signature: type[Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> list[dict[str, Any]]: ...
    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]: ...

class ChatAdapter(Adapter):
    use_json_adapter_fallback: bool
    def __init__(
        self,
        callbacks: Sequence[Any] | None = None,
        use_native_function_calling: bool = False,
        native_response_types: Sequence[type] | None = None,
        use_json_adapter_fallback: bool = True,
        parallel_tool_calls: bool | None = None,
    ) -> None: ...

class JSONAdapter(ChatAdapter):
    def __init__(
        self,
        callbacks: Sequence[Any] | None = None,
        use_native_function_calling: bool = True,
        parallel_tool_calls: bool | None = None,
    ) -> None: ...
    def _prepare_response_format(self, lm: BaseLM, lm_kwargs: dict[str, Any], signature: type[Signature]) -> None: ...
    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: dict[str, Any],
        prefix: str = ...,
        suffix: str = ...,
        main_request: bool = ...,
    ) -> str: ...

class Tool:
    # Optional in the class, but always filled in when it is made.
    func: Callable[..., Any]
    name: str
    desc: str
    args: dict[str, Any]
    arg_types: dict[str, Any]
    has_kwargs: bool
    def __init__(
        self,
        func: Callable[..., Any],
        name: str | None = None,
        desc: str | None = None,
        args: dict[str, Any] | None = None,
        arg_types: dict[str, Any] | None = None,
        arg_desc: dict[str, str] | None = None,
    ) -> None: ...
    def __call__(self, **kwargs: Any) -> Any: ...
    async def acall(self, **kwargs: Any) -> Any: ...
    @classmethod
    def from_mcp_tool(cls, session: Any, tool: Any) -> Tool: ...

class ToolCalls: ...

# Settings

class Settings:
    lm: BaseLM | None
    adapter: Adapter | None
    trace: list[Any] | None
    callbacks: list[Any]
    track_usage: bool
    usage_tracker: Any
    disable_history: bool
    def context(self, **kwargs: Any) -> AbstractContextManager[None]: ...
    def configure(self, **kwargs: Any) -> None: ...

class UsageTracker:
    usage_data: dict[str, list[dict[str, Any]]]
    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None: ...
    def get_total_tokens(self) -> dict[str, dict[str, Any]]: ...

settings: Settings

def context(**kwargs: Any) -> AbstractContextManager[None]: ...
def configure(**kwargs: Any) -> None: ...
def configure_cache(
    enable_disk_cache: bool | None = True,
    enable_memory_cache: bool | None = True,
    disk_cache_dir: str | None = ...,
    disk_size_limit_bytes: int | None = ...,
    memory_max_entries: int = 1000000,
) -> None: ...
def track_usage() -> AbstractContextManager[UsageTracker]: ...
