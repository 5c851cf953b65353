"""The law across domains: one left out, predicted from its first evaluations."""

import json

import numpy as np
import pytest

from analysis import cross_domain, laws
from analysis.cross_domain import Domain
from analysis.reading import domains as reading
from scaling.errors import InputError
from tests.analysis.commands import run
from tests.analysis.law_cases import grid

TRUTH = {'E': 0.9, 'A': 160.0, 'B': 60.0, 'C': 0.2, 'alpha': 0.3, 'beta': 0.34, 'gamma': 0.6,
         'eta': 1.3, 'eps': 0.08}
GRID = grid(N=np.array([0.5e9, 1.8e9, 4e9]), r=np.array([0.0, 0.1, 0.3, 0.6, 1.0]),
            D=np.geomspace(1.3e9, 2.6e10, 3))
FIRST, DECLINE = [2.0, 2.4, 2.7, 3.1, 3.6, 2.55], [2.0, 1.0, 3.5, 1.6, 2.6, 3.0]


def made(count=6, law='dcpt_cross', noise=0.0, **k):
  """Domains whose losses are the law's at their own k1 and k2 (per 1e10 tokens)."""
  truth = TRUTH | {'F': 0.4, 'mu': 0.8} | ({'w': 1e9} if law == 'dcpt_cross' else {}) | k
  random = np.random.default_rng(0)
  found = {}
  for i in range(count):
    x = GRID | {'k1': np.full(GRID['N'].shape, FIRST[i]),
                'k2': np.full(GRID['N'].shape, DECLINE[i] * 1e-10)}
    law_ = laws.get(law)
    loss = law_.predict({p: truth[p] for p in law_.names}, {n: x[n] for n in law_.inputs})
    found[f'd{i}'] = Domain(dict(GRID), loss * np.exp(noise * random.normal(size=loss.shape)),
                            np.arange(loss.size), FIRST[i], DECLINE[i] * 1e-10)
  return found


SHAPES = {k: TRUTH[k] for k in ('alpha', 'beta', 'gamma', 'eta', 'eps')}


@pytest.mark.parametrize('fixed', [
    SHAPES, pytest.param({}, marks=pytest.mark.slow)], ids=['shapes held', 'all free'])
def test_the_losses_of_a_sixth_domain_from_five(fixed):
  result, = cross_domain.leave_one_out(made(), only=('d5',), bootstrap=0, fixed=fixed)
  assert result.law == 'dcpt_cross' and result.metrics['r2'] > 0.9999
  assert abs(result.level_error) < 1e-4
  # The law without K misses the domain's level, and only that.
  assert result.without_k['r2'] < 0.98 and result.shape > 0.9999


def test_three_domains_take_one_statistic_and_say_so():
  domains = made(3, 'dcpt_cross_k1', mu=1.0)
  first, = cross_domain.leave_one_out(domains, only=('d1',), bootstrap=0, fixed=SHAPES)
  assert first.law == 'dcpt_cross_k1' and first.metrics['r2'] > 0.9999
  assert '2 domains to fit give 2 values of K' in first.warnings[0]
  assert not any('outside' in w for w in first.warnings)
  law, said = cross_domain.form(3, 'dcpt_cross')
  assert law.name == 'dcpt_cross' and 'too few' in said[0]
  assert cross_domain.form(5)[1] == [] == cross_domain.form(4, 'dcpt_cross')[1]
  assert cross_domain.form(1)[0].name == 'dcpt' and 'left out' in cross_domain.form(1)[1][0]


def test_learnability_is_a_mean_over_curves_and_need_not_fall():
  falls = ([0.0, 1e9, 2e9], [3.0, 2.8, 2.6])
  k1, k2 = cross_domain.learnability([falls, ([0.0, 1e9], [4.0, 3.9])])
  assert k1 == 3.5 and k2 == pytest.approx(1.5e-10)
  assert cross_domain.learnability([falls, ([0.0, 1e9], [3.0, 3.2])]) == (3.0, None)


def test_wrong_questions():
  domains = made(2)
  with pytest.raises(InputError, match='two or more'):
    cross_domain.leave_one_out({'d0': domains['d0']})
  with pytest.raises(InputError, match='--left_out'):
    cross_domain.leave_one_out(domains, only=('d9',))
  with pytest.raises(InputError, match='does not fall'):
    cross_domain.leave_one_out({k: Domain(d.inputs, d.loss, d.groups, d.k1, None)
                                for k, d in domains.items()}, 'dcpt_cross')


def test_a_table_of_domains(tmp_path):
  """k1 and k2 of a table are read off its fewest tokens, which are then not predicted."""
  domains = made(2, 'dcpt_cross_k1', mu=1.0)
  columns = {f'{n}_loss': d.loss for n, d in domains.items()} | GRID
  names = list(columns)
  lines = [','.join(names), *(','.join(repr(float(columns[n][i])) for n in names)
                              for i in range(GRID['N'].size))]
  (tmp_path / 'runs.csv').write_text('\n'.join(lines))
  found = reading.of_table(f'{tmp_path}/runs.csv', ('d0', 'd1'), 'loss={domain}_loss')
  least = sorted(set(GRID['D']))
  first = (GRID['r'] == 1) & (GRID['D'] < 0.9 * least[2])
  np.testing.assert_array_equal(found['d0'].loss, domains['d0'].loss[~first])
  top = (GRID['r'] == 1) & np.isclose(GRID['D'], least[0])
  assert found['d0'].k1 == pytest.approx(domains['d0'].loss[top].mean())
  assert 'not before training' in found['d0'].notes[0] and found['d0'].k2 > 0
  done = run('analysis.cross_domain', f'--data={tmp_path}/runs.csv', '--domains=d0,d1',
             '--columns=loss={domain}_loss,k1=2+0*N', '--bootstrap=0', '--fix=eta=1.3,eps=.08',
             f'--out={tmp_path}/x.json')
  assert done.returncode == 0, done.stderr
  assert '1 domain to fit gives 1 value of K' in done.stdout
  assert len(json.loads((tmp_path / 'x.json').read_text())['left_out'][0]['predicted']) == 45
  for wrong in (['--domains=d0'], ['--domains=d0,d0'], ['--domains=d0,d7'], ['--early=0'],
                ['--law=none'], ['--fix=Z=1'], ['--columns=q=N'], ['--logs=x'], ['--left_out=d9']):
    bad = run('analysis.cross_domain', f'--data={tmp_path}/runs.csv', '--domains=d0,d1',
              '--columns=loss={domain}_loss', '--bootstrap=0', *wrong)
    assert bad.returncode == 2 and bad.stderr.count('\n') == 1, (wrong, bad.stderr)
