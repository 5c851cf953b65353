"""A damaged fit.json, in-process: one line that says what is wrong with it, never a traceback."""

import copy
import json
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from analysis import fit, laws, predict, report
from analysis.fit import Fit
from scaling.errors import InputError
from tests.analysis.law_cases import CASES

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 7), st.floats(), st.just(10**400),
    st.text(max_size=3),
    st.lists(st.floats(-1, 9), max_size=3), st.just({}), st.just([[]]), st.just({'a': [1]}),
    st.sampled_from(['bootstrap', 'profile likelihood', 'mse', 'lad_log', 'kaplan', 'crossed']))


def made(name='chinchilla', rows=24, **options):
  case = CASES[name]
  law = laws.get(name)
  x = {k: np.asarray(v, float)[:rows] for k, v in case.inputs.items()}
  y = law.predict(case.truth, x) * np.exp(0.01 * np.random.default_rng(0).normal(size=rows))
  return fit.fit(law, x, y, **options)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """Values of a fit with refits and held-out rows, and of one with a profile's intervals."""
  folder = tmp_path_factory.mktemp('saved')
  held = [{'N': 1e8, 'D': 1e9, 'run': 'a', 'actual': 3.0, 'predicted': 3.1, 'relative_error': 0.03,
           'interval': [2.9, 3.3], 'inside': True}]
  extra = {'held_out': held, 'held_out_metrics': {'r2': None, 'rmse_log': 0.03}, 'columns': {
      'N': 'n'}, 'data': {'source': 'runs.csv', 'sha256': 'abc', 'where': None}}
  found = []
  for i, options in enumerate(({'bootstrap': 20, 'interval': 'bootstrap', 'extra': extra},
                               {'interval': 'profile'})):
    made(**options).save(f'{folder}/{i}.json')
    found.append(json.loads((folder / f'{i}.json').read_text()))
  return folder, found


def places(value, path=()):
  """The paths of all values in a JSON value; of long lists the first two."""
  yield path
  items = value.items() if isinstance(value, dict) else (
      enumerate(value[:2]) if isinstance(value, list) else ())
  for key, inner in items:
    yield from places(inner, (*path, key))


def mutated(values, path, junk, delete):
  values = copy.deepcopy(values)
  if not path:
    return junk
  here = values
  for key in path[:-1]:
    here = here[key]
  if delete:
    del here[path[-1]]
  else:
    here[path[-1]] = junk
  return values


@hypothesis.settings(max_examples=300, deadline=None, database=None, derandomize=True,
                     suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(data=st.data())
def test_any_change_of_a_fit_is_read_or_refused_in_one_line(saved, data):
  folder, found = saved
  values = found[data.draw(st.integers(0, 1))]
  for _ in range(data.draw(st.integers(1, 2))):
    path = data.draw(st.sampled_from(list(places(values))))
    values = mutated(values, path, data.draw(JUNK), data.draw(st.booleans()))
    if not isinstance(values, dict):
      break
  (folder / 'changed.json').write_text(json.dumps(values))
  try:
    loaded = Fit.load(f'{folder}/changed.json')
  except InputError as error:
    assert '\n' not in str(error).strip() and 'changed.json' in str(error)
    return
  quick = loaded.samples is not None or loaded.interval_method is None
  given = {name: float(np.median(v)) for name, v in loaded.inputs.items()}
  try:
    if quick:  # a profile takes seconds
      predict.text(loaded, predict.predict(loaded, given, None))
      predict.predict(loaded, {}, 1e19)
  except InputError:
    pass


def test_reports_of_changed_fits(saved):
  """A few changes that loading lets through still draw."""
  folder, (values, _) = saved
  for path, junk in ((('held_out', 0, 'interval'), [None, None]), (('metrics',), {}),
                     (('intervals', 'A'), [None, None]), (('data',), None), (('columns',), None),
                     (('held_out_metrics',), None), (('minima',), [])):
    values = mutated(values, path, junk, False)
  (folder / 'changed.json').write_text(json.dumps(values))
  assert 'chinchilla' in report.report([Fit.load(f'{folder}/changed.json')], None, 'command')


@pytest.mark.parametrize('path, junk, said', [
    (('level',), 7, 'level'), (('samples',), [[1.0, 2.0]], 'a row of 2 values'),
    (('samples',), None, 'samples'), (('objective', 'name'), 'best', 'objective'),
    (('interval_method',), 'guess', 'interval_method'), (('params', 'A'), -3.0, 'params.A'),
    (('params', 'A'), math.nan, 'params.A'), (('points', 'N', 0), -1, 'points.N'),
    (('points', 'D'), [1.0], 'points.D'), (('points', 'loss', 0), 0, 'points.loss'),
    (('noise_floor',), -1, 'noise_floor'), (('components',), {'run': 1}, 'components')])
def test_what_is_wrong_is_named(saved, path, junk, said):
  folder, (values, _) = saved
  (folder / 'changed.json').write_text(json.dumps(mutated(values, path, junk, False)))
  with pytest.raises(InputError, match=said):
    Fit.load(f'{folder}/changed.json')


def test_saved_fits_come_back(saved):
  folder, found = saved
  for i, values in enumerate(found):
    again = Fit.load(f'{folder}/{i}.json')
    assert again.params == values['params'] and again.interval_method == values['interval_method']
