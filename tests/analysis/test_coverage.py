"""Intervals hold the truth about as often as they say; docs/fit.md has 500 studies of each kind."""

import numpy as np
import pytest

from analysis import fit, laws
from analysis.fitting.objectives import Objective
from tests.analysis import coverage


def test_a_study_of_the_batch_is_a_fit():
  study = coverage.chinchilla(40)
  law = laws.get('chinchilla')
  loss = law.predict(study.truth, study.x) * np.exp(
      study.noise(np.random.default_rng(0), heavy=False))
  one, = coverage.fits(study, Objective.of('huber_log', 1e-3), loss[None], 30, 'auto', 0)
  two = fit.fit(law, study.x, loss, bootstrap=30, groups=study.groups)
  for name in law.names:
    np.testing.assert_allclose(one.intervals[name], two.intervals[name], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('law, points, objective, interval', [
    ('chinchilla', 12, 'huber_log', 'auto'), ('chinchilla', 20, 'huber_log', 'auto'),
    ('chinchilla', 40, 'mse_log', 'auto'), ('chinchilla', 120, 'huber_log', 'auto'),
    ('dcpt', 45, 'mse_log', 'auto')])
def test_coverage(law, points, objective, interval):
  study = coverage.STUDIES[law](points)
  shares = coverage.coverage(study, 100, objective, refits=100, interval=interval)
  print(law, points, objective, shares)
  judged = {k: v for k, v in shares.items() if law != 'dcpt' or k not in ('C', 'gamma', 'eps')}
  for name, share in judged.items():
    assert 0.81 <= share <= 0.99, (name, share)  # .90 and three standard errors of 100 studies
