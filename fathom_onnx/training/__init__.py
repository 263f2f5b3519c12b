"""Training in onnxruntime: the loop, its data, evaluation on held-out batches, checkpoints, and the files of a run.

A training graph and batches come in; losses, metrics, values of all variables and a folder that the run can be resumed
from go out. Nothing but onnxruntime and numpy takes a step.
"""

from .checkpoints import Checkpoint, CheckpointFolder, read_checkpoint
from .evaluation import Evaluation, HeldOutLoss, InferenceMetrics
from .loop import CheckpointPlan, EvaluationPlan, TrainingRun, open_training, train

__all__ = [
    "Checkpoint",
    "CheckpointFolder",
    "CheckpointPlan",
    "Evaluation",
    "EvaluationPlan",
    "HeldOutLoss",
    "InferenceMetrics",
    "TrainingRun",
    "open_training",
    "read_checkpoint",
    "train",
]
