"""What fits of a mixture say about the next run: three questions of Que et al. 2024 (2406.01375).

Two fits of a law of N, D and r (`dcpt`): a domain's loss with r = r_d, its share of the training
mixture, and, where it matters, the general loss with r = r_g = 1 - r_d. Losses in nats per token.

  trade_off             r_d of least domain loss while the general loss rises by no more than T:
                        argmin L_d(N, D, r_d) s.t. (L_g(N, D, 1 - r_d) - L_g0) / L_g0 <= T
  limited_domain_data   r_d of least domain loss with D_d domain tokens: argmin L_d(N, D_d/r_d, r_d)
  allocation            N and D of least loss at a fixed r: argmin L(N, D, r) s.t. C = 6 N D

Ratios are sought among those that were fitted. Intervals of r are quantiles over bootstrap refits,
those of losses the fits' own at the chosen point.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import ratios
from analysis.fit import Fit
from analysis.fitting import diagnostics, intervals
from analysis.fitting.result import PROFILE
from analysis.laws import dcpt
from analysis.laws.law import Law, Values
from scaling.errors import InputError, bad

GRID = 2001  # ratios looked at; between them the optimum is interpolated


@dataclasses.dataclass(frozen=True)
class Choice:
  """The answer: where to train, and what to expect there.

  inputs: N, D and r, the domain's share; intervals: {name: (low, high)} of what was chosen.
  losses: per fit ('domain', 'general'): 'loss', and (low, high) for a new run ('prediction') and
    for the law ('confidence') where the fit has intervals.
  limit: the general loss that may not be passed, if there is one.
  """

  usage: str
  inputs: dict[str, float]
  intervals: dict[str, tuple[float, float]]
  losses: dict[str, dict[str, Any]]
  warnings: list[str]
  level: float
  limit: float | None = None

  def to_dict(self) -> dict[str, Any]:
    return dataclasses.asdict(self)


def trade_off(domain: Fit, general: Fit, N: float, D: float, max_rise: float,
              general_loss: float | None = None) -> Choice:
  """The ratio r_d of least domain loss with a general loss at most (1 + max_rise) L_g0.

  L_g0: `general_loss`, such as the base model's before this training; by default what the general
  fit predicts at r_g = 1. Raises InputError when no ratio keeps the limit.
  """
  _positive(N=N, D=D, max_general_rise=max_rise)
  if general_loss is not None:
    _positive(general_loss=general_loss)
  r = _shared(domain, general)

  def best(p: Values, q: Values) -> tuple[np.ndarray, np.ndarray]:
    loss = _at(domain, p, N, D, r)
    base = _at(general, q, N, D, np.array([1.0]))
    limit = (1 + max_rise) * (base if general_loss is None else np.full_like(base, general_loss))
    return ratios.least(r, loss, _at(general, q, N, D, 1 - r) - limit), limit

  found, limit = best(_point(domain), _point(general))
  if not np.isfinite(found[0]):
    raise InputError(f'max_general_rise: got {max_rise:g}; no ratio from {r[0]:.3g} to {r[-1]:.3g} '
                     'keeps the general loss within it')
  samples, missing = _samples(domain, general)
  chosen = float(found[0])
  warnings = _edges(chosen, r)
  if chosen == r[-1]:
    warnings.append('the general loss does not reach its limit at any ratio fitted')
  return _choice('trade_off', {'domain': domain, 'general': general}, {'N': N, 'D': D, 'r': chosen},
                 {'r': best(*samples)[0]} if samples else {}, warnings + missing,
                 limit=float(np.ravel(limit)[0]))


def limited_domain_data(domain: Fit, N: float, tokens: float, general: Fit | None = None) -> Choice:
  """The ratio r_d, and D = tokens/r_d, of least domain loss with so many domain tokens."""
  _positive(N=N, domain_tokens=tokens)
  r = np.maximum(_shared(domain, general), 1e-6)

  def best(p: Values) -> np.ndarray:
    loss = _at(domain, p, N, tokens / r, r)
    return ratios.least(r, loss, np.full_like(loss, -1.0))

  chosen = float(best(_point(domain))[0])
  samples, missing = _samples(domain)
  refits = best(*samples) if samples else None
  fits = {'domain': domain} | ({} if general is None else {'general': general})
  return _choice('limited_domain_data', fits, {'N': N, 'D': tokens / chosen, 'r': chosen},
                 {} if refits is None else {'r': refits, 'D': tokens / refits},
                 _edges(chosen, r) + missing)


def allocation(fit: Fit, flops: float, r: float) -> Choice:
  """N and D of least loss at ratio r (that of the fit's own corpus) under C = 6 N D FLOPs."""
  _positive(flops=flops)
  if not 0 <= r <= 1:
    raise bad('r', r, 'it must be in [0, 1]')
  if set(fit.law.inputs) != {'N', 'D', 'r'}:
    raise InputError(f'{fit.law.name}: an allocation at a ratio needs a law of N, D and r, as dcpt '
                     'is (analysis.predict --flops divides a budget by a law of N and D)')
  law = at_ratio(fit.law, r)
  if not all(np.isfinite(v) for v in law.best(fit.params, flops).values()):
    raise InputError(f'{fit.law.name}: no allocation is best at r = {r:g}: the loss does not fall '
                     'with both N and D there')
  best = {k: float(v[0]) for k, v in dataclasses.replace(fit, law=law).optimum(flops).items()}
  warnings = [f'the optimal {name} lies outside the {name} of the data' for name in ('N', 'D')
              if not np.min(fit.inputs[name]) <= best[name] <= np.max(fit.inputs[name])]
  low, high = np.min(fit.inputs['r']), np.max(fit.inputs['r'])
  if not low <= r <= high:
    warnings.append(f'r = {r:g} lies outside the ratios fitted, {low:.3g} to {high:.3g}')
  found = _choice('allocation', {'domain': fit}, {'N': best['N'], 'D': best['D'], 'r': r}, {},
                  warnings)
  return dataclasses.replace(found, intervals={
      k: (best[f'{k}_low'], best[f'{k}_high']) for k in ('N', 'D') if f'{k}_low' in best})


@functools.lru_cache(maxsize=64)
def at_ratio(law: Law, r: float) -> Law:
  """The law with a compute optimum, N and D at this r.

  Along N D = C/6 Newton's method on ln(N dL/dN) = ln(D dL/dD): exact after one step where N and D
  enter as powers of their own, as they do in every D-CPT form.
  """

  def optimum(p: Values, flops: Any) -> dict[str, Any]:
    product = jnp.log(flops / 6)
    spread = sum(jnp.zeros_like(v) for v in p.values())

    def loss(n: Any, d: Any) -> Any:
      x = {'N': jnp.exp(n), 'D': jnp.exp(d), 'r': jnp.full_like(n, r)}
      return law.equation(p, {k: x[k] for k in law.inputs}).sum()

    def gain(which: int, n: Any, d: Any) -> Any:
      return jnp.log(-jax.grad(loss, which)(n, d))

    n = product / 2 + spread
    if law.name in dcpt.NAMES:  # known exponents: no second derivatives for a profile to go through
      known = {**dict(law.fixed), **p}
      known |= {name: known[to] for name, to in law.tied}
      n = n + (gain(0, n, product - n) - gain(1, n, product - n)) / (known['alpha'] + known['beta'])
      return {'N': jnp.exp(n), 'D': jnp.exp(product - n)}
    for _ in range(4):
      d = product - n
      bent = [jax.grad(lambda n, d, i=i: gain(i, n, d).sum(), i)(n, d) for i in (0, 1)]
      n = n - (gain(0, n, d) - gain(1, n, d)) / (bent[0] + bent[1])
    return {'N': jnp.exp(n), 'D': jnp.exp(product - n)}

  return dataclasses.replace(law, optimum=optimum)


def _choice(usage: str, fits: Mapping[str, Fit], inputs: dict[str, float],
            refits: Mapping[str, np.ndarray], warnings: list[str],
            limit: float | None = None) -> Choice:
  level = next(iter(fits.values())).level
  tails = [(1 - level) / 2, (1 + level) / 2]
  intervals = {}
  for name, values in refits.items():
    lost = float(np.mean(~np.isfinite(values)))
    if lost > 0.05:
      warnings = [*warnings,
                  f'{100 * lost:.0f} % of the refits have no {name} that keeps the limit']
    if lost < 1:
      low, high = np.nanquantile(np.where(np.isfinite(values), values, np.nan), tails)
      intervals[name] = (min(float(low), inputs[name]), max(float(high), inputs[name]))
  losses: dict[str, dict[str, Any]] = {}
  for name, fit in fits.items():
    own = inputs['r'] if name == 'domain' else 1 - inputs['r']
    x = {k: np.atleast_1d(v) for k, v in {**inputs, 'r': own}.items() if k in fit.law.inputs}
    losses[name] = {'loss': float(fit.predict(x)[0])}
    if fit.interval_method is not None:
      for kind in ('prediction', 'confidence'):
        losses[name][kind] = tuple(float(v[0]) for v in fit.interval(x, kind))
    said = diagnostics.far(fit.inputs, x)
    if usage != 'allocation':
      own_range = np.linspace(np.min(fit.inputs['r']), np.max(fit.inputs['r']), GRID)
      said += ratios.rises(own_range, _at(fit, _point(fit), inputs['N'], inputs['D'], own_range)[0])
    if {'N', 'D', 'r'} <= set(fit.law.inputs):
      said += dcpt.violations(fit.law, fit.params, fit.inputs)
    warnings = [*warnings, *(f'{name} loss: {w}' for w in said)]
  return Choice(usage, inputs, intervals, losses, warnings, level, limit)


def _at(fit: Fit, params: Values, N: float, D: Any, r: np.ndarray) -> np.ndarray:
  """The law's output [S, G] for parameters {name: [S]} at ratios [G]."""
  inputs = {'N': np.full(r.shape, N), 'D': np.broadcast_to(D, r.shape), 'r': r}
  return np.atleast_2d(fit.law.predict({k: v[:, None] for k, v in params.items()},
                                       {k: inputs[k] for k in fit.law.inputs}))


def _shared(domain: Fit, general: Fit | None) -> np.ndarray:
  """The domain's ratios that both fits have seen, [GRID]."""
  low, high = 0.0, 1.0
  for fit, flipped in ((domain, False), (general, True)):
    if fit is None:
      continue
    if 'r' not in fit.law.inputs or not set(fit.law.inputs) <= {'N', 'D', 'r'}:
      raise InputError(f'{fit.law.name}: a choice of mixture needs a law of N, D and r, as dcpt is')
    ends = float(np.min(fit.inputs['r'])), float(np.max(fit.inputs['r']))
    ends = (1 - ends[1], 1 - ends[0]) if flipped else ends
    low, high = max(low, ends[0]), min(high, ends[1])
  if not low < high:
    raise InputError('the fits share no range of ratios: the general one takes r = 1 - r_domain')
  return np.linspace(low, high, GRID)


def _edges(r: float, seen: np.ndarray) -> list[str]:
  if seen[0] < r < seen[-1]:
    return []
  which = 'largest' if r >= seen[-1] else 'smallest'
  return [f'minimum not bracketed: the best ratio is the {which} fitted, {r:.3g}']


def _point(fit: Fit) -> dict[str, np.ndarray]:
  return {k: np.array([v]) for k, v in fit.params.items()}


def _samples(*fits: Fit) -> tuple[list[dict[str, np.ndarray]], list[str]]:
  """The refits of each fit, as many of each; none with a warning where a fit allows none.

  A fit with profiles in place of refits is refitted: the choice lies within its data.
  """
  done = [intervals.refitted(fit) if fit.interval_method == PROFILE else fit for fit in fits]
  if any(fit is None or fit.samples is None for fit in done):
    return [], ['no interval of the ratio: it takes refits of every fit (three groups a parameter, '
                '--bootstrap above 0)']
  refits = [fit.refits() for fit in done if fit is not None]
  count = min(len(next(iter(r.values()))) for r in refits)
  return [{k: v[:count] for k, v in r.items()} for r in refits], []


def _positive(**values: float) -> None:
  for name, value in values.items():
    if not (np.isfinite(value) and value > 0):
      raise bad(name, value, 'it must be positive and finite')


if __name__ == '__main__':
  from analysis.commands import mixture as mixture_command
  mixture_command.start()
