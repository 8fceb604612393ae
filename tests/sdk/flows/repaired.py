"""`repairs` after its bug was mended: the same workflow, new code, another process."""

from . import repairs

repairs.is_repaired = lambda _execution: True

WORKFLOWS = repairs.WORKFLOWS
