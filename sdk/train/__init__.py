"""Training and distillation: a recipe and a data folder in, weights and a model card out."""

from sdk.train.api import TrainResult, train

__all__ = ["TrainResult", "train"]
