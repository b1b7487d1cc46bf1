"""Routers: one protocol, one file each. Fitted on labelled tables, they route what they have not seen.

A new one is a file here with a class that keeps to :class:`Router`, and its entry in tests/routers/test_routers.py.
"""

from .always import AlwaysRouter
from .base import Goal, Router, Routes, charge_once, mean_reward
from .entropy import EntropyRouter
from .features import FEATURES, STRIDE, Describe, patch_means
from .idk import CascadeRouter
from .margin import MarginRouter
from .oracle import BudgetOracle, OracleRouter, budget_route
from .policy import DeployedPolicy, PolicyRouter, Schooling
from .priced import PricedRouter
from .random import RandomRouter, random_matched
from .tables import TEMPERATURES, Labelled, Seen, labelled, tempered
from .threshold import best_cuts
from .topk import TopKRouter

__all__ = [
    "FEATURES",
    "STRIDE",
    "TEMPERATURES",
    "AlwaysRouter",
    "BudgetOracle",
    "CascadeRouter",
    "DeployedPolicy",
    "Describe",
    "EntropyRouter",
    "Goal",
    "Labelled",
    "MarginRouter",
    "OracleRouter",
    "PolicyRouter",
    "PricedRouter",
    "RandomRouter",
    "Router",
    "Routes",
    "Schooling",
    "Seen",
    "TopKRouter",
    "best_cuts",
    "budget_route",
    "charge_once",
    "labelled",
    "mean_reward",
    "patch_means",
    "random_matched",
    "tempered",
]
