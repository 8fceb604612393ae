"""All workflows with rules, and the shapes of the SDK's documentation, in one worker."""

from . import approvals, knots, loops, older_routes, repairs, routes, shapes, stubborn, twenty

MODULES = [approvals, knots, loops, older_routes, repairs, routes, shapes, twenty]
WORKFLOWS = [workflow for module in MODULES for workflow in module.WORKFLOWS]
STEPS = stubborn.STEPS
