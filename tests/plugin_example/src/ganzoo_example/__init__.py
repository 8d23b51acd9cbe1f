"""An example of a ganzoo plug-in: a component of each kind that changes a training.

Nothing needs importing from here: once the package is installed, ganzoo knows its components.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("ganzoo-example")
