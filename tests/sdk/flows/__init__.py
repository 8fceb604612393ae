"""Workflows in the SDK's idiom, each module served by processes of its own (`python -m flows.serve`)."""
