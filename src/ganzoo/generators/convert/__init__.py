"""Conversion: a state dict that another program trained becomes a bundle."""

from ganzoo.generators.convert.conversion import Conversion, Pair, convert

__all__ = ["Conversion", "Pair", "convert"]
