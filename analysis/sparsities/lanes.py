"""One law fitted again and again to parts of the same rows, reweighted: all in one program.

Lanes are (part of the rows) x (sample). Sample 0 has weight one everywhere, the others random
weights of units (parting.units: sizes of dense runs, starts of sparse ones), exponential with
mean one (the Bayesian bootstrap, analysis/fitting/bootstrap), the same for every law and part, so
that differences between laws are paired. Quantiles are spread around the estimate by
t / z sqrt((G + 1) / (G - 1)) for G units: such weights give a mean over G a variance G + 1 times
too small, in units of its G values' own, and it is judged by few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from analysis.fit import Fit
from analysis.fitting import bootstrap, objectives, solver
from analysis.laws.law import Law

Samples = dict[str, np.ndarray]  # of parameters, [S + 1, 1]


def weights(units: np.ndarray, strata: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
  """Weights of rows, [S + 1, n]; the first are ones. strata [n]: drawn apart from one another.

  A unit belongs to the highest of its rows' strata.
  """
  names, member = np.unique(units, return_inverse=True)
  of = np.zeros(len(names), int)
  np.maximum.at(of, member, np.asarray(strata, int))
  drawn = bootstrap.draws(units, of[member], samples, seed, False)
  return np.concatenate([np.ones((1, len(units))), drawn[:, member]])


def refits(start: Fit, parts: Mapping[str, np.ndarray], weights_SxM: np.ndarray,
           ) -> dict[str, Samples]:
  """The law of `start` refitted to each part (bool [M] of its rows), from its own optimum."""
  law, coordinates, log = start.law, start._coordinates, start.objective.log
  data = objectives.problem(law, coordinates, log, start.inputs, start.loss)
  r, u = objectives.residuals(law, log), coordinates.internal(start.params)
  delta = start.objective.refit_delta(solver.derivatives(r, u, data, {})[0])
  masks, count = np.array(list(parts.values()), float), len(weights_SxM)
  ends = solver.minimise(
      r, np.repeat(u[None], len(masks) * count, 0), data, {},
      lambda lanes: masks[lanes // count] * weights_SxM[lanes % count],
      np.full(len(start.loss), delta), *coordinates.bounds(), steps=bootstrap.STEPS).u
  found = coordinates.natural(ends.reshape(len(masks), count, -1))
  return {name: {k: np.asarray(v)[i][:, None] for k, v in found.items()}
          for i, name in enumerate(parts)}


def predict(law: Law, params: Samples, inputs: Mapping[str, Any]) -> np.ndarray:
  """The law of every sample at inputs [n]: [S + 1, n]."""
  return law.predict(params, {k: np.asarray(inputs[k])[None] for k in law.inputs})


def mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Weighted means over rows, [S + 1]; both [S + 1, n]."""
  return np.sum(values * weight, 1) / np.maximum(np.sum(weight, 1), 1e-300)


def spread(units: int) -> float:
  """sqrt((G + 1) / (G - 1)), by which a standard deviation over samples is too small."""
  return math.sqrt((units + 1) / (units - 1))


def interval(values: np.ndarray, units: int, level: float, low: float = -np.inf,
             high: float = np.inf) -> list[float] | None:
  """The middle `level` of samples [S + 1], of which the first is the estimate; None: too few."""
  if len(values) < 2 or units < 2:
    return None
  tail = (1 + level) / 2
  wider = special.stdtrit(units - 1, tail) / special.ndtri(tail) * spread(units)
  ends = values[0] + wider * (np.quantile(values[1:], [1 - tail, tail]) - values[0])
  return [float(np.clip(min(ends[0], values[0]), low, high)),
          float(np.clip(max(ends[1], values[0]), low, high))]
