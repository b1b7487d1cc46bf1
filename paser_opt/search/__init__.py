"""The search: a study's space, one driver, one database, trials that survive."""

from .profiling import profile_study
from .retarget import retarget
from .static import static_front
from .study import Watcher, search
from .versus import Effort, compare_run, compare_study

__all__ = [
    "Effort",
    "Watcher",
    "compare_run",
    "compare_study",
    "profile_study",
    "retarget",
    "search",
    "static_front",
]
