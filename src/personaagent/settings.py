"""What is configured outside the program: environment variables, with the same names in `PERSONAAGENT_` form."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .data.call import ANSWER_SECONDS, ANSWER_TOKENS


class Settings(BaseSettings):
    """Settings of one home folder. Each can be set as `PERSONAAGENT_<NAME>`; a command's option goes before it."""

    model_config = SettingsConfigDict(env_prefix="PERSONAAGENT_", frozen=True)

    home: Path = Path(".personaagent")
    """The folder that holds the store, the index, MLflow's database and evaluations."""
    database: str | None = None
    """URL of the store's database; by default a SQLite file in the home folder."""
    chroma: str | None = None
    """URL of a Chroma server that only this store's processes use; by default files in the home folder."""
    tracking_uri: str | None = None
    """MLflow's URI; by default a SQLite file in the home folder. Several processes need a server's."""
    embedder: str = "minilm"
    """`minilm` (in process) or any DSPy embedding model, `openai/text-embedding-3-small` say."""
    lm: str = "embedded"
    """The LM that answers: `embedded` or any DSPy name."""
    loss_lm: str | None = None
    """The LM that criticises; by default the one that answers."""
    revision_lm: str | None = None
    """The LM that rewrites personas; by default the one that answers."""
    price: str | None = None
    """Dollars for a million tokens of prompts and of answers, `2.5,10` say, for LMs that the price table lacks."""
    certificate: Path | None = None
    """A certificate of one's own (`personaagent certify`), which goes before those of the package."""
    api_base: str | None = None
    """Base URL of an OpenAI-compatible server for these LMs."""
    max_answer_tokens: int = Field(default=ANSWER_TOKENS, ge=1)
    """Most tokens of one answer, thoughts included. An answer that is cut is asked for once more with twice as many."""
    lm_timeout: float = Field(default=ANSWER_SECONDS, gt=0, allow_inf_nan=False)
    """Seconds that a server may take for one answer; the embedded LM has no such limit."""

    @property
    def mlflow(self) -> tuple[str, str | None]:
        """MLflow's URI, by default a SQLite file in the home folder, and where runs keep artifacts.

        None is where the server says.
        """
        home = self.home.resolve()
        uri = self.tracking_uri or f"sqlite:///{home / 'mlflow.db'}"
        return uri, None if uri.startswith("http") else (home / "mlflow-artifacts").as_uri()
