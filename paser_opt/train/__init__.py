"""Training: the four stages of PaSeR as functions with seeds, one loop, one store."""

from .artifacts import ArtifactStore
from .loop import training_device
from .pipeline import Table, Trained, train_pipeline

__all__ = ["ArtifactStore", "Table", "Trained", "train_pipeline", "training_device"]
