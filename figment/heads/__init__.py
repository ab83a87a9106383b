"""The head detector, its training and evaluation, and the crop stage."""
