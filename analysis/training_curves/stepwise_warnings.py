"""What a reader must know of a step-wise estimation before trusting it, step by step."""

from __future__ import annotations

import math

import numpy as np

from analysis import stepwise
from analysis.stepwise import Estimate, Options, Runs
from analysis.training_curves import contours
from analysis.training_curves.contours import Contour


def of(runs: Runs, found: list[Contour], done: Estimate, options: Options,
       given: dict[str, float]) -> list[str]:
  """Sentences, each with the step it is about."""
  said = []
  sizes = np.unique([runs.whole[i]['N'] for i in done.ends])
  steep = {runs.whole[i]['N'] for i in done.ends
           if stepwise.flatness(runs.whole[i]) > options.converged}
  if len(sizes) < 3:
    said.append(f'(a) {len(sizes)} size{"s" * (len(sizes) != 1)} of model: three or more are '
                'needed to see a power law')
  elif sizes[-1] < 4 * sizes[0]:
    said.append(f'(a) the sizes span a factor of {sizes[-1] / sizes[0]:.2g} only')
  if steep:
    said.append(f'(a) {len(steep)} of {len(sizes)} sizes have no run that has converged to '
                f'--converged={options.converged:g}: their ends count on (c)')
  if 'alpha_N' not in done.params:
    said.append('(a) the final loss does not fall with N: N_c and alpha_N are not identified')
  corners, lost = done.corners, len(found) - len(done.corners)
  if not found:
    said.append(f'(b) no size of model has curves of {contours.BATCHES} batch sizes that pass a '
                'common loss: B_star and alpha_B, and with them (c), are not identified')
  elif lost:
    said.append(f'(b) {lost} of {len(found)} contours give no S_min and E_min above zero')
  outside = sum(not c.batch.min() <= k.B_crit <= c.batch.max() for k in corners
                for c in found if (c.size, c.loss) == (k.size, k.loss))
  if outside:
    said.append(f'(b) B_crit lies beyond the batches of the sweep at {outside} of {len(corners)} '
                'losses')
  if corners:
    losses = [c.loss for c in corners]
    if max(losses) < 1.15 * min(losses):
      said.append(f'(b) the contours span losses of {min(losses):.3g} to {max(losses):.3g} only: '
                  'alpha_B is hardly identified')
    if given.get('loss', np.inf) < min(losses) / 1.3:
      said.append(f'B_crit at a loss of {given["loss"]:g} is extrapolated from {min(losses):.3g}')
  if found and 'alpha_B' not in done.params:
    said.append('(b) B_crit does not grow as the loss falls: alpha_B is not identified')
  if {'N_c', 'B_star'} <= done.params.keys() and 'S_c' not in done.params:
    said.append('(c) what is left to learn does not fall with S_min, or nothing is: S_c and '
                'alpha_S are not identified')
  if done.rounds >= stepwise.ROUNDS:
    said.append('(a) and (c) did not settle: the runs are too far from convergence')
  moved = [k for k, v in done.params.items() if abs(math.log(v / done.first.get(k, v))) > 0.5]
  if moved:
    said.append(f'the runs of (a) had much left to learn: {", ".join(moved)} of the first pass '
                'differs by more than half')
  return said
