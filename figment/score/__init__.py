"""Scores of generated images: distances between distributions, precision and recall, copies, path length."""
