"""Where trials run: in the driver's process, in others on this machine, on a Ray cluster."""

from .base import Executor, LostError, MakeExecutor
from .here import Here
from .subprocesses import Subprocesses

__all__ = ["Executor", "Here", "LostError", "MakeExecutor", "Subprocesses"]
