"""LaMP: its tasks and its official files as they are."""

from ..task import task_named
from .files import LampData, LampUser, load
from .tasks import TASKS

__all__ = ["TASKS", "LampData", "LampUser", "load", "task_named"]
