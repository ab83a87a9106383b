"""Heads: the detector, its training and scoring, and the crop stage."""
