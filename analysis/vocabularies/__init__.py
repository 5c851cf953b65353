"""The parts of the three vocabulary approaches."""
