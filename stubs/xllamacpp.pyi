# xllamacpp is compiled and carries no types: what the embedded engine uses of it.

from collections.abc import Mapping
from typing import Any

class CommonParamsModel:
    path: str

class CpuParams:
    n_threads: int

class CommonParams:
    api_keys: list[str]
    cache_ram_mib: int
    cpuparams: CpuParams
    cpuparams_batch: CpuParams
    embedding: bool
    endpoint_slots: bool
    model: CommonParamsModel
    n_batch: int
    n_ctx: int
    n_gpu_layers: int
    n_parallel: int
    n_predict: int
    n_ubatch: int
    timeout_read: int
    ui: bool
    verbosity: int
    warmup: bool

class Server:
    def __init__(self, params: CommonParams) -> None: ...
    @property
    def listening_address(self) -> str: ...
    def handle_chat_completions(self, request: Mapping[str, Any]) -> dict[str, Any]: ...
    def handle_completions(self, request: Mapping[str, Any]) -> dict[str, Any]: ...
