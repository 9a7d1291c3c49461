"""LaMP: its tasks and its official files as they are."""

from .files import LampData, LampUser, load
from .tasks import TASKS, task_named

__all__ = ["TASKS", "LampData", "LampUser", "load", "task_named"]
