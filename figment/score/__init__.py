"""Scores of generated pictures: distances between distributions, precision and recall, copies, path length."""
