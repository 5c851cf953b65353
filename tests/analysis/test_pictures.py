"""Every law has its pictures, whatever its inputs are like; what is on them."""

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import fit, laws, report
from analysis.fit import BOOTSTRAP, Fit
from analysis.fitting import likelihood
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.objectives import Objective
from analysis.pictures import budgets, drawing, labels, page, slices
from analysis.pictures.drawing import Key
from tests.analysis.law_cases import CASES


def fitted(law, truth, inputs, noise=0.004, seed=0, rows=60, **extra) -> Fit:
  """A fit at the truth, with noise, refits and intervals around it: as fit.json would have it."""
  random = np.random.default_rng(seed)
  truth = {n: float(truth[n]) for n in law.names}
  chosen = random.permutation(len(next(iter(inputs.values()))))[:rows]
  inputs = {n: np.asarray(v, float)[chosen] for n, v in inputs.items()}
  objective = Objective.of(law.objective[0], law.objective[1] or 1e-3)
  loss = law.predict(truth, inputs)
  shake = random.normal(size=loss.shape) * noise
  loss = loss * np.exp(shake) if objective.log else loss + shake * (np.ptp(loss) or 1.0)
  coordinates = Coordinates.of(law, inputs, loss)
  centre = coordinates.internal(truth)
  lower, upper = coordinates.bounds()
  samples = np.clip(centre + 0.02 * random.normal(size=(40, len(centre))), lower, upper)
  refits = coordinates.natural(samples)
  return Fit(law=law, params=truth, objective=objective, value=0.01, inputs=inputs, loss=loss,
             groups=np.arange(len(loss)), weights=np.ones(len(loss)), interval_method=BOOTSTRAP,
             intervals={n: [float(np.min(v)), float(np.max(v))] for n, v in refits.items()},
             samples=samples, metrics={'r2': 0.99, 'mean_relative_error': 0.01, 'rmse_log': None},
             extra=extra)


def drawn(found, marks=None, rendered=('agreement',)):
  """{name: picture} of all that can be made; warnings are errors, also of rendering these."""
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    made = {p.name: p for p in report.pictures(found, marks)}
    for name in made if rendered is None else rendered:
      made[name].figure.draw_without_rendering()
  return made


@pytest.mark.slow
@pytest.mark.parametrize('name', laws.names())
def test_every_picture_of_every_law_renders(name):
  case = CASES[name]
  drawn(fitted(case.of(name), case.truth, case.inputs), rendered=None)


VARIANTS = ('dcpt_', 'kaplan_', 'repetition_', 'vocabulary_')  # of a law that is there too


# One law of each kind here (of one, two and three inputs, and of a mixture), all of them among the
# slow tests.
QUICK = ('chinchilla', 'dcpt', 'vocabulary', 'sigmoid_accuracy')


@pytest.mark.parametrize('name', [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow)
                                  for n in laws.names() if not n.startswith(VARIANTS)])
def test_every_law_has_pictures(name):
  case = CASES[name]
  first = f'data_{case.of(name).inputs[0]}'
  made = drawn(fitted(case.of(name), case.truth, case.inputs, rows=24), rendered=(first,))
  assert {f'data_{n}' for n in case.of(name).inputs} | {'agreement', 'residuals'} <= set(made)
  assert 'bootstrap' in made or len(case.of(name).names) < 2
  for picture in made.values():
    assert picture.caption.endswith('.') and picture.title


CHINCHILLA = laws.get('chinchilla')
TRUTH = CASES['chinchilla'].truth
INPUTS = {'N': st.floats(1e3, 1e12), 'D': st.floats(1e3, 1e14)}


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(*INPUTS.values()), min_size=4, max_size=4), st.booleans())
def test_any_inputs_give_pictures(rows, same):
  """Few rows, one value of an input, tiny and vast ranges."""
  n, d = (np.array(v) for v in zip(*rows))
  found = fitted(CHINCHILLA, TRUTH, {'N': np.full_like(n, n[0]) if same else n, 'D': d})
  names = set(drawn(found))
  assert {'data_N', 'data_D', 'surface', 'iso_flops', 'frontier', 'agreement'} <= names


def test_held_out_rows_and_open_intervals():
  """Marked wherever rows are, also with an interval that has no end."""
  held = [{'N': 7e9, 'D': 2e11, 'actual': 2.2, 'predicted': 2.1, 'relative_error': -0.045,
           'interval': [None, 2.3], 'inside': True}]
  found = fitted(CHINCHILLA, TRUTH, CASES['chinchilla'].inputs, held_out=held)
  found.intervals.update(E=[-np.inf, 1.9], alpha=[0.3, np.inf])
  made = drawn(found, {'published': {'A': 406.4, 'E': 1.69}}, rendered=None)
  texts = [t.get_text() for t in made['data_N'].figure.legends[0].get_texts()]
  assert any(t.endswith('held out') for t in texts)
  assert 'squares: published' in made['bootstrap'].caption
  section = page.table(*budgets.table(found))
  assert '1e18' in section and 'x: extrapolated' in section


def test_rows_off_a_panel_keep_their_residuals():
  """L = E + A/N^a + B/D^b, log residual .1 at D; moved to another D it is still .1."""
  found = fitted(CHINCHILLA, TRUTH, {'N': [1e8, 1e9], 'D': [1e10, 2e10]}, noise=0.0)
  loss = found.loss * np.exp(0.1)
  moved = slices.moved(found, found.inputs, loss, {'D': 5e10})
  there = found.predict({'N': found.inputs['N'], 'D': np.full(2, 5e10)})
  np.testing.assert_allclose(np.log(moved / there), 0.1)
  same = slices.moved(found, found.inputs, loss, {'D': found.inputs['D']})
  np.testing.assert_array_equal(same, loss)


def test_profile_curves_of_least_squares():
  """Of L = E + A/N with A, E linear, the rise is a parabola: (A - A_hat)^2 / var A_hat."""
  law = laws.fix(CHINCHILLA, {'alpha': 1.0, 'beta': 1.0})
  random = np.random.default_rng(0)
  x = {'N': np.geomspace(1, 10, 24), 'D': np.geomspace(1, 7, 24)[random.permutation(24)]}
  design = np.stack([np.ones(24), 1 / x['N'], 1 / x['D']], 1)
  y = design @ [2.0, 3.0, 1.0] + 0.05 * random.normal(size=24)
  found = fit.fit(law, x, y, objective='mse', bootstrap=0)
  curves, limit = likelihood.curves(found)
  assert limit == pytest.approx(1.7207**2, rel=1e-3)  # t of 21 degrees of freedom, 90 %
  best, (ssr,) = np.linalg.lstsq(design, y)[:2]
  variance = np.linalg.inv(design.T @ design) * ssr / 21
  for i, name in enumerate(('E', 'A', 'B')):
    curve = curves[name]
    wanted = (curve.values - best[i])**2 / variance[i, i]
    np.testing.assert_allclose(curve.rise, wanted, atol=2e-3 * limit, rtol=2e-3)
    assert curve.rise[0] > limit and curve.rise[-1] > limit


def test_flat_profiles_say_so():
  """One value of N: A and alpha are free to move, and the curve stays below the limit."""
  x = {'N': np.full(20, 1e9), 'D': np.geomspace(1e9, 1e12, 20)}
  found = fitted(CHINCHILLA, TRUTH, x)
  curves, limit = likelihood.curves(dataclasses.replace(found))
  assert curves['alpha'].rise.max() < limit < curves['beta'].rise.max()
  assert curves['A'].values[-1] / curves['A'].values[0] > 1e3


def test_shapes_differ_where_colours_do():
  for values in ([0.0, 0.1, 1.0], np.geomspace(1e6, 1e9, 5), np.linspace(1, 2, 40)):
    key = Key(values)
    looks = [(key.marker(v), str(key.line(v))) for v in key.shown]
    assert len(set(looks)) == len(key.shown) == len({key.colour(v) for v in key.shown})
    grey = [np.dot(key.colour(v)[:3], (0.299, 0.587, 0.114)) for v in key.shown]
    assert np.all(np.diff(grey) > 0.05)  # lighter with every step, in print too


@pytest.mark.parametrize('values, wanted', [
    ([0, 5e8, 1e9], ['0', '0.5B', '1.0B']), ([1.0001e9, 1.0002e9], ['1.0001B', '1.0002B']),
    ([0.25, 0.5], ['0.25', '0.50']), ([0, 1e-5], ['0', '1e-05']), ([], [])])
def test_ticks_tell_values_apart(values, wanted):
  assert labels.Plain().format_ticks(values) == wanted


@pytest.mark.parametrize('values, name, scale', [
    ([1e6, 1e9], 'N', 'log'), ([0.0, 0.5, 1.0], 'r', 'linear'), ([1e9, 1.1e9], 'N', 'linear'),
    ([0.0, 1.0, 1e6], 'k1', 'symlog'), ([-2.0, 5.0], 'loss', 'linear'), ([], 'N', 'linear')])
def test_scales(values, name, scale):
  _, (axes,) = drawing.panels(1)
  drawing.log_axis(axes, 'x', values, name)
  assert axes.get_xscale() == scale
