"""The models of a pipeline: the UNets f_0 … f_m, the policy, Monte-Carlo dropout."""

from .family import PUBLISHED, build_policy, build_unet, parameter_count
from .policy import AnyPolicy, Policy, PooledPolicy, PricedPolicy, ReferencePolicy
from .precision import autocast
from .uncertainty import MonteCarlo
from .unet import UNet, smallest_extent

__all__ = [
    "PUBLISHED",
    "AnyPolicy",
    "MonteCarlo",
    "Policy",
    "PooledPolicy",
    "PricedPolicy",
    "ReferencePolicy",
    "UNet",
    "autocast",
    "build_policy",
    "build_unet",
    "parameter_count",
    "smallest_extent",
]
