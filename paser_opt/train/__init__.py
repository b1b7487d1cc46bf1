"""Training: the four stages of PaSeR as functions with seeds, one loop, one store."""

from .artifacts import ArtifactStore
from .loop import seeded, training_device
from .pipeline import Table, Trained, train_pipeline

__all__ = ["ArtifactStore", "Table", "Trained", "seeded", "train_pipeline", "training_device"]
