"""How a server answers and learns, and what its requests may hold."""

from pydantic import ConfigDict, Field, JsonValue

from ..data.api_key import KeyLimits
from ..data.call import ANSWER_SECONDS
from ..data.nouns import Noun
from ..programs import AgentSettings

MAX_BODY_BYTES = 1_048_576
MAX_TEXT = 100_000
"""Characters of one text in a request."""
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that prometheus_client reads, where several workers are counted together."""


def body_config(**example: JsonValue) -> ConfigDict:
    """Return the pydantic settings of a request's body: unknown fields are refused, and the document has an example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


class Serving(Noun):
    """How a server answers and learns."""

    align_every: int = Field(default=10, ge=0)
    """Ground truths that a user must have given since the last alignment before the next one begins; 0 for never."""
    n: int = Field(default=3, ge=1)
    """Interactions in an alignment batch."""
    agent: AgentSettings = AgentSettings()
    tools: tuple[str, ...] = ()
    """Functions of one's own that agents may use, `module:function` each."""
    mcp: tuple[str, ...] = ()
    """URLs or commands of MCP servers whose tools agents may use."""
    alone: bool = True
    """Whether no other process serves the same store."""
    limits: KeyLimits = KeyLimits(requests_per_minute=6_000)
    """What a key may use that has no limits of its own."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may call the API from a browser."""
    user_bytes: int = Field(default=64 * 2**20, ge=0)
    """How many bytes a user may store."""
    answer_seconds: float = Field(default=2 * ANSWER_SECONDS, gt=0)
    """How long an answer may take in all, its calls to the LM and their repetitions together."""
    trace_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the answers that are traced to MLflow; see `AnswerTracker`."""
