"""The search: a study's space, one driver, one database, trials that survive."""

from .profiling import profile_study
from .study import Watcher, search

__all__ = ["Watcher", "profile_study", "search"]
