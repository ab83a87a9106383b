"""Shared by every stage: errors, files, pixels, the catalog, seeds, durations, devices, workers and progress."""
