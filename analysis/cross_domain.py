"""The cross-domain D-CPT law: a new domain's losses from its first evaluations (2406.01375).

  L(N, D, r, K) = E + A/N^alpha + B r^eta/D^beta + C/(r + eps)^gamma + F/K^mu

K is the domain's learnability, of k1, its loss before training on it, and k2, how fast it falls at
first (analysis/laws/dcpt.py). All other parameters are shared, so a law fitted to some domains
predicts the losses of another from its k1 and k2 alone. `leave_one_out` does that to each domain in
turn. Losses in nats per token, tokens D, parameters N.

n domains give only n values of K. The term is cut down to what they can tell:

  domains fitted   law                              free in F/K^mu
  1                dcpt                             none: the one domain's law, moved to the other
  2                dcpt_cross_k1 with mu = 1        F
  3                dcpt_cross_k1, K = 1/k1          F, mu
  4 and more       dcpt_cross, K = 1/k1 + w k2      F, mu, w
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from analysis import laws, metrics
from analysis.fit import Fit, fit
from analysis.laws import dcpt
from analysis.laws.law import Law
from scaling.errors import InputError, bad

AUTO = 'auto'
LAWS = (AUTO, 'dcpt', 'dcpt_cross_k1', 'dcpt_cross_k2', 'dcpt_cross')


@dataclasses.dataclass(frozen=True)
class Domain:
  """One domain's runs and what its first evaluations say.

  inputs {N, D, r: [n]}, loss [n], groups [n] (what was trained together).
  k1: nats per token; k2: nats per token and token, None where the loss does not fall.
  cost: of those evaluations, as a share of the FLOPs of all its runs, where that is known.
  """

  inputs: dict[str, np.ndarray]
  loss: np.ndarray
  groups: np.ndarray
  k1: float
  k2: float | None
  cost: float | None = None
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Prediction:
  """How well a domain that was left out is predicted.

  metrics: of the law with K; without_k: of the law without that term, fitted to the same rows.
  level_error: mean of ln(predicted / actual); shape: R2 once that is taken away.
  inside: the share of losses within their prediction intervals. interval [n, 2], or None.
  """

  domain: str
  law: str
  params: dict[str, float]
  k1: float
  k2: float | None
  cost: float | None
  metrics: dict[str, float | None]
  without_k: dict[str, float | None]
  level_error: float
  shape: float | None
  inside: float | None
  actual: list[float]
  predicted: list[float]
  interval: list[list[float]] | None
  warnings: list[str]


def learnability(curves: Sequence[tuple[Any, Any]]) -> tuple[float, float | None]:
  """k1 and k2, each the mean over curves (tokens, loss) of the first evaluations of runs.

  k2 is None where a loss does not fall, as it need not while the learning rate is warmed up again.
  """
  if not curves:
    raise InputError('a domain needs evaluations early in training')
  first = float(np.mean([dcpt.first_loss(*curve) for curve in curves]))
  try:
    return first, float(np.mean([dcpt.early_decline(*curve, share=1.0) for curve in curves]))
  except InputError:
    return first, None


def form(count: int, name: str = AUTO) -> tuple[Law, list[str]]:
  """The law for so many domains to fit, and what they cannot tell."""
  if name not in LAWS:
    raise bad('--law', name, f'it is {", ".join(LAWS)}')
  values = f'{count} domain{"s" * (count > 1)} to fit give{"s" * (count == 1)} {count} ' \
           f'value{"s" * (count > 1)} of K'
  if name != AUTO:
    law = laws.get(name)
    free = len(set(law.names) & {'F', 'mu', 'w'})
    return law, [f'{values}: too few for E and the {free} parameters of F / K^mu'] * (
        free > 0 and count < free + 1)
  if count == 1:
    return laws.get('dcpt'), [f'{values}: F / K^mu cannot be told from E and is left out; the law '
                              'of one domain is taken for the other']
  if count == 2:
    return laws.fix(laws.get('dcpt_cross_k1'), {'mu': 1.0}), [
        f'{values}: K = 1/k1 and mu = 1 are held, and F is exactly determined']
  if count == 3:
    return laws.get('dcpt_cross_k1'), [
        f'{values}: K = 1/k1 is held (w = 0), and E, F and mu are exactly determined']
  return laws.get('dcpt_cross'), [
      f'{values}: E, F, mu and w are exactly determined'] if count == 4 else []


def leave_one_out(domains: Mapping[str, Domain], name: str = AUTO, *,
                  only: Sequence[str] = (), bootstrap: int = 200, level: float = 0.9,
                  fixed: Mapping[str, float] = MappingProxyType({}),
                  seed: int = 0) -> list[Prediction]:
  """For each domain (or those of `only`) the law fitted to the others, asked for its losses.

  fixed: parameters to hold. Raises InputError for fewer than two domains, or a k2 that the law
  needs and is not there.
  """
  if len(domains) < 2:
    raise InputError(f'a law across domains takes two or more, and there are {len(domains)}')
  for parameter in fixed:
    if parameter not in laws.get('dcpt_cross').names:
      raise bad('--fix', parameter, f'free are {", ".join(laws.get("dcpt_cross").names)}')
  for left_out in only:
    if left_out not in domains:
      raise bad('--left_out', left_out, f'the domains are {", ".join(domains)}')
  return [_predict(domains, left_out, name, bootstrap, level, fixed, seed)
          for left_out in (only or domains)]


def _predict(domains: Mapping[str, Domain], left_out: str, name: str, bootstrap: int,
             level: float, fixed: Mapping[str, float], seed: int) -> Prediction:
  law, warnings = form(len(domains) - 1, name)
  law, without = _hold(law, fixed), _hold(laws.get('dcpt'), fixed)
  rest = {k: v for k, v in domains.items() if k != left_out}
  new = domains[left_out]
  for label, domain in domains.items():
    if domain.k2 is None and 'k2' in law.inputs:
      raise InputError(f'{label}: its loss does not fall over its first evaluations, and K = '
                       '1/k1 + w k2 needs k2 > 0: give later ones (--early) or '
                       '--law=dcpt_cross_k1')
  plain = _fit(without, rest, bootstrap if law.name == without.name else 0, level, seed)
  found = plain if law.name == without.name else _fit(law, rest, bootstrap, level, seed)
  x = _inputs(law, new)
  predicted = found.predict(x)
  error = float(np.mean(np.log(predicted / new.loss)))
  ends = inside = None
  if found.interval_method is not None:
    low, high = found.interval(x)
    ends = np.stack([low, high], 1).tolist()
    inside = float(np.mean((low <= new.loss) & (new.loss <= high)))
  for k in ('k1', 'k2'):
    known = [getattr(d, k) for d in rest.values()]
    if k in law.inputs and not min(known) <= getattr(new, k) <= max(known):
      warnings = [*warnings, f'its {k} = {getattr(new, k):.4g} lies outside those fitted, '
                             f'{min(known):.4g} to {max(known):.4g}']
  return Prediction(
      left_out, law.name, found.params, new.k1, new.k2, new.cost,
      metrics.all_of(new.loss, predicted),
      metrics.all_of(new.loss, plain.predict(_inputs(plain.law, new))), error,
      metrics.all_of(new.loss, predicted * np.exp(-error))['r2'], inside, new.loss.tolist(),
      predicted.tolist(), ends, [*warnings, *new.notes, *found.warnings])


def _hold(law: Law, fixed: Mapping[str, float]) -> Law:
  return laws.fix(law, {k: v for k, v in fixed.items() if k in law.names})


def _fit(law: Law, domains: Mapping[str, Domain], bootstrap: int, level: float, seed: int) -> Fit:
  """The law on all rows of the domains; runs are resampled within their domain."""
  parts = [_inputs(law, d) for d in domains.values()]
  label = np.repeat(np.arange(len(domains)), [len(d.loss) for d in domains.values()])
  groups = np.concatenate([[f'{k}/{g}' for g in d.groups] for k, d in domains.items()])
  return fit(law, {k: np.concatenate([x[k] for x in parts]) for k in law.inputs},
             np.concatenate([d.loss for d in domains.values()]), groups=groups, strata=label,
             bootstrap=bootstrap, level=level, seed=seed)


def _inputs(law: Law, domain: Domain) -> dict[str, np.ndarray]:
  known = domain.inputs | {'k1': np.full(domain.loss.shape, domain.k1),
                           'k2': np.full(domain.loss.shape, np.nan if domain.k2 is None
                                         else domain.k2)}
  return {k: known[k] for k in law.inputs}


if __name__ == '__main__':
  from analysis.commands import cross_domain as command
  command.start()
