"""What the SDK suite stands on: engines, workers and clients, each a real process or a real stub."""
