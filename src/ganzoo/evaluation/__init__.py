"""Scores of a generator, or of a folder of pictures, with all that decides their numbers."""

from ganzoo.evaluation.evaluator import Evaluator, evaluate
from ganzoo.evaluation.score import Score, differences, measured_as, plain, same_protocol, save
from ganzoo.evaluation.sources import bundle_folder

__all__ = [
    "Evaluator",
    "Score",
    "bundle_folder",
    "differences",
    "evaluate",
    "measured_as",
    "plain",
    "same_protocol",
    "save",
]
