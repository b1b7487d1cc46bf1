"""Training: the four stages of PaSeR as functions with seeds, one loop, one store."""

from .artifacts import Artifact, ArtifactStore, Tensors
from .distill import teacher_logits
from .loop import History, seeded, training_device
from .pipeline import restore_pipeline, train_pipeline, train_unets
from .priced import fit_priced
from .reinforce import Bandit, choose, train_policy
from .reward import gains, rewards
from .stages import TRAINED_S, trained_on
from .table import Table, routed
from .trained import Trained
from .whole import Single, converged, train_whole, whole_epochs

__all__ = [
    "TRAINED_S",
    "Artifact",
    "ArtifactStore",
    "Bandit",
    "History",
    "Single",
    "Table",
    "Tensors",
    "Trained",
    "choose",
    "converged",
    "fit_priced",
    "gains",
    "restore_pipeline",
    "rewards",
    "routed",
    "seeded",
    "teacher_logits",
    "train_pipeline",
    "train_policy",
    "train_unets",
    "train_whole",
    "trained_on",
    "training_device",
    "whole_epochs",
]
