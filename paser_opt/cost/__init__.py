"""What a pipeline costs on a device: measured once per step, then composed for any route.

    workload → bench (flops · latency · memory · energy) → profile (JSON, by key) → curve → predict

This room knows nothing of models or training: others hand it modules with example inputs.
"""

from .bench import EFFORT, Bench, latency_record
from .exclusive import exclusive
from .latency import time_interleaved
from .local import LocalBench
from .machine import describe_machine, identity, local_device, synchronizer, using_threads
from .pace import pace_now, pace_probes
from .predict import RoutePlan, alone, cost_per_patch, least, predict
from .profile import ProfileStore, has_energy, open_bench, open_profile
from .reach import reach
from .remote import RemoteBench
from .roofline import RooflineBench
from .runtimes import Runtime, runtime_for
from .workload import Workload

__all__ = [
    "EFFORT",
    "Bench",
    "LocalBench",
    "ProfileStore",
    "RemoteBench",
    "RooflineBench",
    "RoutePlan",
    "Runtime",
    "Workload",
    "alone",
    "cost_per_patch",
    "describe_machine",
    "exclusive",
    "has_energy",
    "identity",
    "latency_record",
    "least",
    "local_device",
    "open_bench",
    "open_profile",
    "pace_now",
    "pace_probes",
    "predict",
    "reach",
    "runtime_for",
    "synchronizer",
    "time_interleaved",
    "using_threads",
]
