"""What `bench/run.py` measures with. Standard library alone."""
