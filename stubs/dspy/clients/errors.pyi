from contextlib import AbstractContextManager

def error_boundary(
    model: str, *, provider: str | None = None, unexpected: bool = False
) -> AbstractContextManager[None]: ...
