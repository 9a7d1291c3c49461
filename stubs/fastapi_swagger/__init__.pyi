from typing import Any

from fastapi import FastAPI

def patch_fastapi(
    app: FastAPI,
    docs_url: str = ...,
    redirect_from_root_to_docs: bool = ...,
    *,
    swagger_ui_parameters: dict[str, Any] | None = ...,
) -> None: ...
