"""Where the time of answers goes: MLflow traces of some of them, without what was said and without whose they are."""

import logging
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import dspy
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from ..data.call import as_written
from ..data.errors import TrackingError
from ..optimizers.tracking import Tracker, mlflow_errors

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan

_log = logging.getLogger(__name__)


class AnswerTracker(Tracker):
    """Traces answers to MLflow, in an experiment of their own.

    A trace has the names of modules, tools and models, when each began and ended and whether it failed, and the id of
    the interaction that the answer became. MLflow sends it in the background; what it cannot send is lost, and said in
    the log.

    Args:
        uri: MLflow's URI.
        artifacts: As `Tracker` takes it.
        share: How many of the answers are traced, 0 to 1.
    """

    experiment: ClassVar[str] = "personaagent answers"

    def __init__(self, uri: str, artifacts: str | None = None, *, share: float = 0.0) -> None:
        super().__init__(uri, artifacts)
        self._share = share
        self._experiment_id: str | None = None

    @contextmanager
    def ready(self) -> Generator[None]:
        """Send traces while the block runs; none at all, which the log says, if MLflow cannot be reached as it begins.

        MLflow knows one URI for all traces of a process: while this runs, it is this one.
        """
        if not self._share:
            yield
            return
        import mlflow

        try:
            with mlflow_errors(self.uri, "answers are not traced until the server is started again"):
                self._experiment_id = self.experiment_id(self.client())
                mlflow.set_tracking_uri(self.uri)
        except TrackingError as error:
            _log.warning("%s", error)
        try:
            yield
        finally:
            if self._experiment_id is not None:
                mlflow.flush_trace_async_logging()

    @contextmanager
    def trace(self, interaction_id: str) -> Generator[None]:
        """Trace what the block does, if the lot falls on it."""
        if self._experiment_id is None or random.random() >= self._share:
            yield
            return
        import mlflow

        asked = {"interaction_id": interaction_id}
        root = mlflow.start_span_no_context("answer", attributes=asked, experiment_id=self._experiment_id)
        try:
            with dspy.context(callbacks=[*dspy.settings.callbacks, _Spans(root)]):
                yield
        except BaseException:
            root.end(status="ERROR")
            raise
        root.end()


class _Spans(BaseCallback):
    """Makes a span of each call that DSPy makes, under that of the call that it is part of."""

    def __init__(self, root: "LiveSpan") -> None:
        self._root = root
        self._open: dict[str, LiveSpan] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, type(instance).__name__, "CHAIN")

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, as_written(instance.model), "LLM")

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin(call_id, instance.name, "TOOL")

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._open.pop(call_id).end(status="ERROR" if exception else "OK")

    on_lm_end = on_tool_end = on_module_end

    def _begin(self, call_id: str, name: str, kind: str) -> None:
        import mlflow

        parent = self._open.get(ACTIVE_CALL_ID.get() or "", self._root)
        self._open[call_id] = mlflow.start_span_no_context(name, span_type=kind, parent_span=parent)
