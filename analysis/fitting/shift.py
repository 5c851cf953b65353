"""What shifts the losses of all runs alike, in the intervals of a law.

Runs that were scored on the same evaluation resamples share these resamples' mean effect
(analysis/fitting/noise.py): no number of runs averages it out. It belongs in what is said of the
law on other text: its level, E and the other coefficients in units of the loss. It does not touch
exponents, ratios of coefficients, and a new run's loss on the same resamples, which it shifts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.laws.law import Law, power


def widened(low: Any, high: Any, centre: Any, extra: float, log: bool) -> tuple[Any, Any]:
  """An interval around `centre` when that may also be off by `extra` (of ln if `log`).

  Half-widths of independent errors add as squares.
  """
  with np.errstate(divide='ignore'):
    if log:
      return (centre * np.exp(-np.hypot(np.log(centre / low), extra)),
              centre * np.exp(np.hypot(np.log(high / centre), extra)))
  return centre - np.hypot(centre - low, extra), centre + np.hypot(high - centre, extra)


def additive(law: Law, params: Mapping[str, float], name: str) -> bool:
  """Whether a parameter is the level of the law: raised by some amount, so is every output."""
  x = {n: np.array([0.3, 0.7]) if law.range(n) == (0.0, 1.0) else np.array([3e3, 7e5])
       for n in law.inputs}
  step = 1e-3 * abs(params[name])
  raised = law.predict({**params, name: params[name] + step}, x) - law.predict(params, x)
  return bool(np.allclose(np.abs(raised), step, rtol=1e-6))


def parameters(law: Law, params: Mapping[str, float], intervals: Mapping[str, list[float]],
               extra: float, log: bool) -> dict[str, list[float]]:
  """Intervals {name: [low, high]} with the shift in them; `extra` is its half-width.

  A shift of ln loss multiplies every parameter by the power of the loss in its unit. A shift of the
  loss itself adds to the parameter that is the level of the law, E.
  """
  found = dict(intervals)
  for p in law.parameters:
    units, value = dict(p.units), params[p.name]
    share = abs(float(power(units.get('loss', 0.0), params)))
    if not share or not value or not (log or additive(law, params, p.name)):
      continue
    low, high = found[p.name]
    if log and p.scale == 'linear':
      ends = widened(low, high, value, abs(value) * share * extra, False)
    else:
      ends = widened(np.float64(low), np.float64(high), value, share * extra, log)
    found[p.name] = [float(v) for v in ends]
  return found
