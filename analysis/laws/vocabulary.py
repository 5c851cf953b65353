"""L_u(N_nv, N_v, D) = -E + A1 / N_nv^alpha1 + A2 / N_v^alpha2 + B / D^beta: Tao et al. 2024
(arXiv 2407.13623), approach 3, and the formulas that its three approaches share.

L_u is the unigram-normalised loss: cross-entropy minus that of the unigram model of the same
tokenizer, nats per token, negative for a useful model. Losses under different vocabularies may be
compared in L_u, never in cross-entropy. N_nv parameters outside the vocabulary; N_v = V d those of
one embedding matrix, V the vocabulary size and d the width; D training tokens of H characters.

  D = H f(V), f(V) = a ln(V)^2 + b ln(V) + c, V at most 200,000 (tokens a character)
  C = 6 (N_nv + V d) H f(V) (FLOPs)

Units. Everything here counts parameters, tokens and FLOPs one by one. The paper's coefficients are
for N_nv and N_v in millions and D in billions: `from_paper`, `to_paper`. They were fitted by a
script that applies f to V / 1000 (`mode='official'`; with D = H f(V) they describe nothing), so
they go with D from tokens_from_chars(H, V, 'official') alone.

The paper ties alpha1 to beta: --tie=alpha1=beta; so does `python -m analysis.vocabulary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.laws import combine
from analysis.laws.law import Law, Parameter, Values
from scaling.errors import bad

COMPRESSION = (0.00639222, -0.15811069, 1.20470122)  # a, b, c for SlimPajama and BPE
LARGEST = 200_000  # f is flat beyond
MODES = ('correct', 'official')

# The paper's coefficients: N in parameters, C in FLOPs, natural logarithms; approach 3 in its units
# (above). Approach 2's anchor is the best vocabulary of the smallest model.
APPROACH_1 = {'K_Nnv': -2.4846510161625193, 'K_Nv': -1.589031299255507,
              'exponent': 0.4163622634135234}
APPROACH_2 = {'gamma': 0.8353974035228025, 'N_nv': 33e6, 'N_v': 6144 * 512.0}
APPROACH_3 = {'E': 5.5327846803337435, 'A1': 1.8313851559554126, 'A2': 0.19584238398665638,
              'B': 2.1241123120064955, 'alpha1': 0.44660634152009615,
              'alpha2': 0.6707374679896795, 'beta': 0.44660634152009615}
UNITS = {'A1': ('alpha1', 1e6), 'A2': ('alpha2', 1e6), 'B': ('beta', 1e9)}  # the paper's

# (largest N_nv, width d) of the paper's models; 6048 is theirs.
WIDTHS = ((50e6, 512), (200e6, 768), (500e6, 1024), (1e9, 1536), (2e9, 2048), (5e9, 3200),
          (10e9, 4096), (20e9, 5120), (50e9, 6048), (100e9, 8192), (200e9, 12288),
          (500e9, 16384), (1e12, 20480), (np.inf, 24576))


def tokens_per_char(V: Any, coefficients: tuple[float, float, float] = COMPRESSION) -> Any:
  """f(V), of V's shape: tokens that a vocabulary of V makes of one character."""
  xp = _numpy(V)
  log = xp.log(xp.minimum(V, LARGEST))
  a, b, c = coefficients
  return a * log**2 + b * log + c


def tokens_from_chars(H: Any, V: Any, mode: str = 'correct',
                      coefficients: tuple[float, float, float] = COMPRESSION) -> Any:
  """D = H f(V) tokens, or H f(V / 1000) in mode 'official', the slip of the paper's script."""
  if mode not in MODES:
    raise bad('tokens_from_chars_mode', mode, f'the modes are {", ".join(MODES)}')
  return H * tokens_per_char(V if mode == 'correct' else V / 1000, coefficients)


def chars_from_tokens(D: Any, V: Any,
                      coefficients: tuple[float, float, float] = COMPRESSION) -> Any:
  """H = D / f(V)."""
  return D / tokens_per_char(V, coefficients)


def compression(V: Any, ratio: Any) -> tuple[float, float, float]:
  """(a, b, c) of f by least squares from tokens a character measured at three or more V."""
  V = np.asarray(V, np.float64)
  if len(np.unique(V)) < 3:
    raise bad('V', len(np.unique(V)), 'tokens a character at three or more vocabulary sizes')
  a, b, c = np.polyfit(np.log(V), np.asarray(ratio, np.float64), 2)
  return float(a), float(b), float(c)


def width(N_nv: Any) -> Any:
  """d of a model with N_nv parameters outside the vocabulary, by the paper's table."""
  xp = _numpy(N_nv)
  edges, widths = xp.asarray([e for e, _ in WIDTHS]), xp.asarray([float(d) for _, d in WIDTHS])
  return widths[xp.searchsorted(edges, N_nv)]


def flops(N_nv: Any, N_v: Any, D: Any) -> Any:
  """C = 6 (N_nv + N_v) D."""
  return 6 * (N_nv + N_v) * D


def from_paper(params: Mapping[str, float]) -> dict[str, float]:
  """The paper's coefficients (millions, billions) -> ours (parameters, tokens)."""
  return _scaled(params, 1.0)


def to_paper(params: Mapping[str, float]) -> dict[str, float]:
  """Ours -> the paper's."""
  return _scaled(params, -1.0)


def optimal_size(params: Values, N_nv: Any, C: Any) -> np.ndarray:
  """N_v of least L_u for N_nv (any shape) at C FLOPs: dL/dN_v = 0 with D = C / (6 (N_nv + N_v)).

  N_nv need not be the optimal one. ln of the two slopes' ratio falls steadily in ln N_v when
  beta < 1, so bisection finds the one root.
  """
  p = {k: np.asarray(v, np.float64) for k, v in params.items()}
  n, c = np.asarray(N_nv, np.float64), np.asarray(C, np.float64)
  shape = np.broadcast_shapes(n.shape, c.shape, *(v.shape for v in p.values()))

  def excess(log: np.ndarray) -> np.ndarray:
    total = n + np.exp(log)
    return (np.log(p['alpha2'] * p['A2'] / (p['beta'] * p['B'])) - (p['alpha2'] + 1) * log
            - p['beta'] * np.log(6 / c) + (1 - p['beta']) * np.log(total))

  low, high = np.full(shape, -30.0), np.full(shape, 60.0)
  for _ in range(80):
    middle = (low + high) / 2
    up = excess(middle) > 0
    low, high = np.where(up, middle, low), np.where(up, high, middle)
  return np.exp((low + high) / 2)


def equation(p: Values, x: Values) -> Any:
  """L_u in nats per token, of the inputs' shape."""
  return (p['A1'] * x['N_nv'] ** -p['alpha1'] + p['A2'] * x['N_v'] ** -p['alpha2']
          + p['B'] * x['D'] ** -p['beta'] - p['E'])


def optimum(p: Values, C: Any) -> dict[str, Any]:
  """N_nv, N_v and D of least L_u at C = 6 (N_nv + N_v) D FLOPs (for beta < 1).

  Both derivatives vanish: alpha1 A1 N_nv^-(alpha1 + 1) = alpha2 A2 N_v^-(alpha2 + 1)
  = beta B (6 S / C)^beta / S, S = N_nv + N_v. The first gives N_v, bisection the rest.
  """

  def vocabulary(log: Any) -> Any:
    ratio = jnp.log(p['alpha2'] * p['A2'] / (p['alpha1'] * p['A1']))
    return (ratio + (p['alpha1'] + 1) * log) / (p['alpha2'] + 1)

  def slope(log: Any) -> Any:  # ln of the two sides' ratio; falls in ln N_nv
    total = jnp.logaddexp(log, vocabulary(log))
    return (jnp.log(p['alpha1'] * p['A1'] / (p['beta'] * p['B'])) - (p['alpha1'] + 1) * log
            - p['beta'] * jnp.log(6 / C) + (1 - p['beta']) * total)

  def halve(_: int, ends: Any) -> Any:
    low, high = ends
    middle = (low + high) / 2
    up = slope(middle) > 0
    return jnp.where(up, middle, low), jnp.where(up, high, middle)

  zero = jnp.zeros(jnp.broadcast_shapes(jnp.shape(C), *(jnp.shape(v) for v in p.values())))
  low, high = jax.lax.fori_loop(0, 80, halve, (zero - 10.0, zero + 70.0))
  log = jax.lax.stop_gradient((low + high) / 2)
  value, rate = jax.jvp(slope, (log,), (jnp.ones_like(log),))
  log = log - value / rate  # Newton's last step carries the derivatives by p and C
  N_nv, N_v = jnp.exp(log), jnp.exp(vocabulary(log))
  return {'N_nv': N_nv, 'N_v': N_v, 'D': C / (6 * (N_nv + N_v))}


def _scaled(params: Mapping[str, float], sign: float) -> dict[str, float]:
  return {name: value * UNITS[name][1] ** (sign * params[UNITS[name][0]]) if name in UNITS
          else value for name, value in params.items()}


def _numpy(value: Any) -> Any:
  return jnp if isinstance(value, jax.Array) else np


LAW = Law(
    name='vocabulary',
    formula='L_u = -E + A1 / N_nv^alpha1 + A2 / N_v^alpha2 + B / D^beta',
    source='Tao et al. 2024, arXiv 2407.13623, approach 3',
    inputs=('N_nv', 'N_v', 'D'),
    parameters=(
        Parameter('E', start=(1.1, 1.5), units=(('loss', 1.0),)),
        Parameter('A1', start=(0.03, 0.1), units=(('loss', 1.0), ('N_nv', 'alpha1'))),
        Parameter('A2', start=(0.003, 0.03), units=(('loss', 1.0), ('N_v', 'alpha2'))),
        Parameter('B', start=(0.1, 0.3), units=(('loss', 1.0), ('D', 'beta'))),
        Parameter('alpha1', start=(0.3, 0.7), bounds=(0.0, 3.0), scale='linear'),
        Parameter('alpha2', start=(0.3, 0.7, 1.2), bounds=(0.0, 3.0), scale='linear'),
        Parameter('beta', start=(0.3, 0.7), bounds=(0.0, 3.0), scale='linear'),
    ),
    equation=equation,
    columns=(('N_nv', 'N_nonembedding'),),
    optimum=optimum,
    optimum_of=('N_nv', 'N_v', 'D'),
    output='loss_unigram',
    objective=('huber', 1e-3),
    linear=('E', 'A1', 'A2', 'B'),
)

CHARACTERS = combine.of_inputs(
    LAW, 'vocabulary_characters', ('N_nv', 'N_v', 'V', 'H'),
    lambda p, x: {'N_nv': x['N_nv'], 'N_v': x['N_v'], 'D': tokens_from_chars(x['H'], x['V'])},
    units={'D': 'H'}, columns=(('N_nv', 'N_nonembedding'),),
    formula='the vocabulary law of D = H f(V), f(V) = a ln(V)^2 + b ln(V) + c')

LAWS = (LAW, CHARACTERS)
