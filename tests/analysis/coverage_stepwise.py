"""How often the intervals of step-wise estimation hold the truth: the table of docs/stepwise.md.

  python -m tests.analysis.coverage_stepwise
"""

from __future__ import annotations

import numpy as np

from analysis import stepwise
from analysis.commands import stepwise as stepwise_command
from analysis.reading.points import Points
from tests.analysis.test_stepwise import LARGE, OPTIONS, TRUTH, table

STUDIES, SAMPLES = 100, 200


def main() -> None:
  truth = {**TRUTH, **stepwise.predict(TRUTH, LARGE)}
  for noise, run_noise in ((0.003, 0.0), (0.001, 0.002)):
    held: dict[str, list[bool]] = {}
    for seed in range(STUDIES):
      rows = table(noise, run_noise, seed)
      run = rows['run'].to_numpy()
      points = Points(inputs={k: rows[v].to_numpy() for k, v in
                              (('N', 'params'), ('S', 'step'), ('B', 'batch'))},
                      loss=rows['val_loss'].to_numpy(), groups=run, columns={}, data={})
      answer = stepwise_command.of_points(points, run, OPTIONS, SAMPLES, 0.9, LARGE)
      for name, (low, high) in {**answer['intervals'], **answer['prediction_intervals']}.items():
        held.setdefault(name, []).append(low <= truth[name] <= high)
    print(f'{noise} an evaluation, {run_noise} a run: ' + ', '.join(
        f'{name} {np.mean(inside):.2f}' for name, inside in held.items()), flush=True)


if __name__ == '__main__':
  main()
