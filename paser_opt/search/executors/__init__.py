"""Where trials run, and what else trains: in the driver's process, in others on this machine, on a Ray cluster."""

from .base import Executor, LostError, MakeExecutor, Work
from .here import Here
from .subprocesses import Subprocesses

__all__ = ["Executor", "Here", "LostError", "MakeExecutor", "Subprocesses", "Work"]
