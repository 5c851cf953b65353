"""Learning-rate schedules, evaluated on the host in float64.

With t the 0-based index of an update, T the steps of the run and w the warm-up steps
(`warmup_steps`, or `warmup_fraction` times T, rounded; 0 when neither is given), every schedule is

  lr(t) = peak_lr * min(1, (t + 1) / (w + 1)) * shape(t)

so the first update never has rate 0, and update w is the first at the peak. The shapes, with f =
`final_lr`, and u = (t - w) / (T - 1 - w) in [0, 1], 1 at the last update (0 during warm-up):

  constant       1
  cosine         f + (1 - f) (1 + cos(pi u)) / 2          (Loshchilov, Hutter 2017)
  linear         1 - (1 - f) u
  inverse_sqrt   sqrt((w + 1) / max(t + 1, w + 1))        (Vaswani et al. 2017)
  wsd            1 until the last d = round(decay_fraction T) updates (at most T - w), over which
                 it falls linearly to f at the last update (Hu et al. 2024):
                 1 - (1 - f) max(0, t + 1 - (T - d)) / d
  infinite       with c = `constant_lr`, a cooldown of k updates (`cooldown_steps`, or
                 `cooldown_fraction` times T, rounded), x = (t - w) / k in it, and d as for wsd,
                 from 1 to c as c + (1 - c) (1 + cos(pi x)) / 2, or, with `cooldown` inverse_sqrt,
                 as 1 + (c - 1) h(x) / h(1), h(x) = 1 / sqrt(1 + a x) - 1; then c; over the last d
                 updates c (f / c)^((t + 1 - (T - d)) / d)    (Ibrahim et al. 2024, arXiv
                 2403.08763, section 7)

A run that goes on in its parent's schedule (`init.schedule`) counts t and T from the parent's
first update, or from where the parent's own schedule does: `of_run`.

constant and inverse_sqrt do not look at T, so runs of different lengths share their steps, when
the warm-up is counted in steps; runs under wsd and infinite share them until the first decays.
"""

from __future__ import annotations

import numpy as np

from scaling.errors import bad
from scaling.specs import SCHEDULES, OptimSpec, RunSpec


def warmup(spec: OptimSpec, steps: int) -> int:
  """w, the warm-up updates of a run of `steps`."""
  if spec.warmup_fraction is not None:
    return round(spec.warmup_fraction * steps)
  return spec.warmup_steps or 0


def learning_rate(spec: OptimSpec, steps: int, step: np.ndarray | int) -> np.ndarray:
  """lr float64, of the shape of `step`, the 0-based update indices, in a run of `steps` updates.

  Raises InputError for a schedule that does not exist.
  """
  t = np.asarray(step, np.float64)
  w = warmup(spec, steps)
  ramp = np.minimum(1.0, (t + 1) / (w + 1))
  return spec.peak_lr * ramp * _shape(spec, steps, w, t)


def of_run(spec: RunSpec, step: np.ndarray | int) -> np.ndarray:
  """The learning rate of a run at its 0-based updates `step`, its parent's counted where asked."""
  before = spec.init.counted
  return learning_rate(spec.optim, before + spec.steps, before + np.asarray(step))


def cooldown(spec: OptimSpec, steps: int) -> int:
  """k, the cooldown updates of an infinite schedule in a run of `steps`."""
  if spec.cooldown_fraction is not None:
    return round(spec.cooldown_fraction * steps)
  return spec.cooldown_steps or 0


def _shape(spec: OptimSpec, steps: int, w: int, t: np.ndarray) -> np.ndarray:
  f = spec.final_lr
  u = np.clip((t - w) / max(steps - 1 - w, 1), 0.0, 1.0)
  match spec.schedule:
    case 'constant':
      return np.ones_like(t)
    case 'cosine':
      return f + (1 - f) * (1 + np.cos(np.pi * u)) / 2
    case 'linear':
      return 1 - (1 - f) * u
    case 'inverse_sqrt':
      return np.sqrt((w + 1) / np.maximum(t + 1, w + 1))
    case 'wsd':
      decay = min(round(spec.decay_fraction * steps), steps - w)
      return 1 - (1 - f) * np.clip((t + 1 - (steps - decay)) / max(decay, 1), 0.0, 1.0)
    case 'infinite':
      return _infinite(spec, steps, w, t)
  raise bad('optim.schedule', spec.schedule, f'allowed are {", ".join(SCHEDULES)}')


def _infinite(spec: OptimSpec, steps: int, w: int, t: np.ndarray) -> np.ndarray:
  c, k = spec.constant_lr, cooldown(spec, steps)
  assert c is not None  # The spec's check demands it.
  x = np.clip((t - w) / k, 0.0, 1.0) if k else (t >= w).astype(np.float64)
  if spec.cooldown == 'cosine':
    shape = c + (1 - c) * (1 + np.cos(np.pi * x)) / 2
  else:
    a = spec.cooldown_curvature
    shape = 1 + (c - 1) * (1 / np.sqrt(1 + a * x) - 1) / (1 / np.sqrt(1 + a) - 1)
  decay = min(round(spec.decay_fraction * steps), max(steps - w - k, 0))
  if decay:  # np.exp: the power of a scalar and of an array differ in the last bit.
    x = np.clip((t + 1 - (steps - decay)) / decay, 0.0, 1.0)
    shape = shape * np.exp(np.log(spec.final_lr / c) * x)
  return shape
