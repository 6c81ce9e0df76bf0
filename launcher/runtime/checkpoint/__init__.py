"""Saving and loading a run's state as slices, on any number of ranks."""
