"""Dense and sparse runs on one law: is it the average number of parameters that counts?

Jin et al. 2025 (arXiv 2501.12486): runs that are pruned while they train lie on the law of dense
runs when N is the mean count over training, not when it is the final count.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from analysis import fit, laws, metrics
from analysis.fit import Fit
from analysis.reading import rows


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The same rows fitted with N_average and with the final N.

  structure: per fit, the share of its residuals' variance (ln law - ln loss) that a line in
  ln(N_average / N_final) explains; about 1 / rows where the N that was chosen tells all.
  """

  average: Fit
  final: Fit
  structure: dict[str, float]

  def table(self) -> list[dict[str, Any]]:
    """Per fit: N, objective, metrics and structure."""
    return [{'N': name, 'objective': found.value, **found.metrics,
             'structure': self.structure[name]}
            for name, found in (('average', self.average), ('final', self.final))]


def compare(N_average: Any, N_final: Any, D: Any, loss: Any, **options: Any) -> Comparison:
  """Fits Chinchilla's law to dense and sparse runs jointly, with either N; arrays [n].

  N_final is the count of non-zero parameters at the end; a dense run has N_average = N_final.
  Rows that either fit cannot use are left out
  of both. options: those of `analysis.fit.fit`. Raises InputError where that does.
  """
  law = laws.get('average_parameters')
  kept = rows.usable(law, {'N_average': N_average, 'D': D}, loss, None, options.get('weights'),
                     True).kept
  kept = kept & rows.usable(laws.get('chinchilla'), {'N': N_final, 'D': D}, loss, None, None,
                            True).kept
  options |= {name: np.asarray(options[name])[kept] for name in ('groups', 'weights', 'strata')
              if options.get(name) is not None}
  N_average, N_final, D, loss = (np.asarray(v, np.float64)[kept]
                                 for v in (N_average, N_final, D, loss))
  average = fit.fit(law, {'N_average': N_average, 'D': D}, loss, **options)
  final = fit.fit(laws.get('chinchilla'), {'N': N_final, 'D': D}, loss, **options)
  ratio = np.log(N_average / N_final)
  structure = {}
  for name, found in (('average', average), ('final', final)):
    residual = np.log(found.predict(found.inputs) / found.loss)
    if np.ptp(ratio) > 0:
      line = np.polyval(np.polyfit(ratio, residual, 1), ratio)
      structure[name] = metrics.r2(residual, line)
    else:
      structure[name] = 0.0
  return Comparison(average, final, structure)
