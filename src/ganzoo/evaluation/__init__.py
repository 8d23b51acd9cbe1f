"""Scores of a generator, or of a folder of pictures, with all that decides their numbers."""

from ganzoo.evaluation.evaluator import Evaluator, evaluate
from ganzoo.evaluation.opening import bundle_folder
from ganzoo.evaluation.options import EvalOptions
from ganzoo.evaluation.score import Score, differences, measured_as, plain, same_protocol, save

__all__ = [
    "EvalOptions",
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
