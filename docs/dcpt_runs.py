"""The runs of the D-CPT study and its proof, and their fits, for docs/dcpt.py."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd

from analysis import fit, laws, logs
from analysis.fit import Fit
from analysis.laws.law import Law
from configs import dcpt
from scaling import files

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / 'data' / 'dcpt.csv'
STUDIES = ('dcpt', 'dcpt-trade_off', 'dcpt-limited')
GENERAL, DOMAINS = dcpt.SCALES['cpu'].general, dcpt.SCALES['cpu'].domains
LAW = 'dcpt_monotone'  # of the study's fits and choices
MAX_RISE = 0.03
BOOTSTRAP = 200  # refits for the intervals of the choices
COLUMNS = ('study', 'run_id', 'stage', 'lineage', 'trunk', 'parent', 'seed', 'step', 'share',
           'final', 'lr', 'peak_lr', 'N', 'N_nonembedding', 'D', 'C', 'B')
METRICS = ('r', 'loss', 'loss_along', 'loss_se', 'bits_per_byte')


def export(workdir: str) -> None:
  """The done runs of the study, and of its proof if there is one, a row an evaluation."""
  there = [study for study in STUDIES if files.exists(f'{workdir}/studies/{study}.json')]
  tables = [logs.load(workdir, study) for study in there]
  names = [*COLUMNS, *(f'{m}/{d}' for d in (GENERAL, *DOMAINS) for m in METRICS)]
  table = pd.concat([t[t['state'] == 'done'] for t in tables])
  DATA.parent.mkdir(exist_ok=True)
  table[names].to_csv(DATA, index=False, float_format='%.7g')


class Study:
  """One domain's mixtures with the general corpus.

  final: the last evaluations of runs; every: all of them; workdir: of all domains, and of the
  bases too.
  """

  def __init__(self, table: pd.DataFrame, domain: str, study: str = 'dcpt'):
    self.workdir = table[table['study'] == study]
    runs = self.workdir[self.workdir['stage'] == 0]
    others = [f'r/{d}' for d in DOMAINS if d != domain]
    self.every = runs[(runs[others] == 0).all(axis=1)]
    self.final = self.every[self.every['final']]
    self.domain = domain
    self._fits: dict[tuple[str, str, int], Fit] = {}

  @property
  def sides(self) -> tuple[str, str]:
    """The corpora whose losses are modelled."""
    return self.domain, GENERAL

  def inputs(self, corpus: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """N, D, r and the final loss on one corpus."""
    rows = self.final
    return ({'N': rows['N'].to_numpy(float), 'D': rows['D'].to_numpy(float),
             'r': rows[f'r/{corpus}'].to_numpy(float)}, rows[f'loss/{corpus}'].to_numpy(float))

  def fit(self, corpus: str, law: str = LAW, bootstrap: int = 0) -> Fit:
    """Of final losses; what shares a trunk is resampled together."""
    key = corpus, law, bootstrap
    if key not in self._fits:
      inputs, loss = self.inputs(corpus)
      self._fits[key] = fit_of(laws.get(law), inputs, loss, bootstrap=bootstrap,
                               groups=self.final['trunk'].to_numpy(object))
    return self._fits[key]

  def size(self) -> float:
    """N of the size nearest to that of the proof."""
    sizes = self.final[['N', 'N_nonembedding']].to_numpy(float)
    return float(sizes[np.argmin(np.abs(np.log(sizes[:, 1] / dcpt.PROOF_SIZE))), 0])


def fit_of(law: Law, inputs: dict[str, np.ndarray], loss: np.ndarray, bootstrap: int = 0,
           groups: np.ndarray | None = None) -> Fit:
  return fit.fit(law, {k: inputs[k] for k in law.inputs}, loss, groups=groups, bootstrap=bootstrap)


def reaches(r: np.ndarray, loss: np.ndarray, limit: float) -> float:
  """The ratio, of increasing ones, where a loss first passes its limit, linear between them; the
  last where it does not."""
  above = np.flatnonzero(loss > limit)
  if not len(above):
    return float(r[-1])
  at = int(above[0])
  if at == 0:
    return float(r[0])
  share = (limit - loss[at - 1]) / (loss[at] - loss[at - 1])
  return float(r[at - 1] + share * (r[at] - r[at - 1]))


def percent(value: float) -> str:
  return f'{100 * value:.2f} %'
