"""The models of a pipeline: the UNets f_0 … f_m, the policy, Monte-Carlo dropout."""

from .family import PUBLISHED, build_policy, build_unet, parameter_count
from .policy import Policy, PooledPolicy, ReferencePolicy
from .precision import autocast
from .uncertainty import mc_dropout, mean_probability
from .unet import UNet, smallest_extent

__all__ = [
    "PUBLISHED",
    "Policy",
    "PooledPolicy",
    "ReferencePolicy",
    "UNet",
    "autocast",
    "build_policy",
    "build_unet",
    "mc_dropout",
    "mean_probability",
    "parameter_count",
    "smallest_extent",
]
