"""Compute-optimal sizes from minima over sizes, without a law of the loss."""
