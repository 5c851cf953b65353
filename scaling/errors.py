"""Errors that a user can mend, and how an entry point reports them.

Exit codes of every command: 0 done, 1 some runs failed, 2 bad input, 3 stopped by a signal.
"""

from __future__ import annotations

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 3


class InputError(ValueError):
  """Bad input: one line that names the field, the value and what is allowed."""


def bad(field: str, value: object, allowed: str) -> InputError:
  """The error for `field` holding `value`: `data.batch: 0 is not allowed; it must be >= 1`."""
  shown = repr(value)
  if len(shown) > 120:
    shown = shown[:117] + '...'
  return InputError(f'{field}: {shown} is not allowed; {allowed}')
