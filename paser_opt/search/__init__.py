"""The search: a study's space, one driver, one database, trials that survive."""

from .ahead import train_study
from .profiling import profile_study
from .retarget import retarget
from .static import static_front
from .study import search
from .versus import Effort, compare_run, compare_study
from .watcher import Watcher

__all__ = [
    "Effort",
    "Watcher",
    "compare_run",
    "compare_study",
    "profile_study",
    "retarget",
    "search",
    "static_front",
    "train_study",
]
