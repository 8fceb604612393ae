"""What the start scripts share."""
