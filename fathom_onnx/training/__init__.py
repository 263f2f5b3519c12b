"""Training in onnxruntime: the loop, its data, evaluation on held-out batches, checkpoints, and the files of a run.

A training graph and batches come in; losses, metrics, values of all variables and a folder that the run can be resumed
from go out. Nothing but onnxruntime and numpy takes a step.
"""

from .checkpoints import Checkpoint, CheckpointFolder, CheckpointPlan, read_checkpoint
from .evaluation import Evaluation, EvaluationPlan, HeldOutLoss, InferenceMetrics
from .loop import TrainingRun, open_training, train
from .playing import EpisodeReward, Player, PlayPlan
from .schedules import Rates, Schedule, read_schedule

__all__ = [
    "Checkpoint",
    "CheckpointFolder",
    "CheckpointPlan",
    "EpisodeReward",
    "Evaluation",
    "EvaluationPlan",
    "HeldOutLoss",
    "InferenceMetrics",
    "PlayPlan",
    "Player",
    "Rates",
    "Schedule",
    "TrainingRun",
    "open_training",
    "read_checkpoint",
    "read_schedule",
    "train",
]
