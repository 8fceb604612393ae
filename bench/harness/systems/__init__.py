"""The systems that are measured, each started, asked and killed in the same way."""

from .dbos import Dbos
from .lazarus import Lazarus, LazarusPython
from .restate import Restate

__all__ = ["Dbos", "Lazarus", "LazarusPython", "Restate"]
