"""Choices of mixture, and what is particular to the laws of mixtures and translation."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import optimize

from analysis import fit, laws, mixture, ratios
from analysis.fit import BOOTSTRAP, Fit
from analysis.fitting.coordinates import Coordinates
from analysis.fitting.objectives import Objective
from analysis.fitting.result import PROFILE
from analysis.laws import dcpt, mixing, multilingual, nmt
from analysis.pictures import drawing
from analysis.pictures import mixture as mixture_plot
from scaling.errors import InputError
from tests.analysis.commands import run
from tests.analysis.law_cases import grid

# A domain that is easily learned at any ratio above a few per cent, and a general corpus.
DOMAIN = {'E': 0.9, 'A': 160.0, 'B': 60.0, 'C': 0.2, 'alpha': 0.3, 'beta': 0.34, 'gamma': 0.6,
          'eta': 1.3, 'eps': 0.08}
GENERAL = {'E': 1.6, 'A': 500.0, 'B': 100.0, 'C': 0.25, 'alpha': 0.32, 'beta': 0.3, 'gamma': 0.4,
           'eta': 1.2, 'eps': 0.05}
GRID = grid(N=np.array([0.5e9, 1.8e9, 4e9]), r=np.linspace(0, 1, 9),
            D=np.geomspace(1.3e9, 2.6e10, 5))


def made(truth, law='dcpt', samples=60, noise=0.004):
  """A fit as if it had been made: parameters, data with noise, refits around the parameters."""
  law = laws.get(law)
  random = np.random.default_rng(0)
  loss = law.predict(truth, GRID) * np.exp(noise * random.normal(size=GRID['N'].size))
  centre = Coordinates.of(law, GRID, loss).internal(truth)
  refits = centre + 0.01 * random.normal(size=(samples, len(centre)))
  return Fit(law=law, params=truth, objective=Objective('huber_log', 1e-3), value=1.0, inputs=GRID,
             loss=loss, groups=np.arange(loss.size), weights=np.ones(loss.size),
             interval_method=BOOTSTRAP if samples else None, samples=refits if samples else None)


def at(truth, law='dcpt', **inputs):
  return float(laws.get(law).predict(truth, inputs))


def test_the_published_trade_off_crosses_its_limit_at_924():
  """Que et al., Table 5: chemistry, 1.8B, 10B tokens, 3 % above a general loss of 2.8602."""
  r = [0.9, 0.91, 0.92, 0.924, 0.93, 0.94, 1.0]
  general = [2.9052, 2.9193, 2.9376, 2.9445, 2.9644, 2.9848, 3.4667]
  assert round(ratios.crossing(r, general, 1.03 * 2.8602), 3) == 0.924
  assert ratios.crossing(r, general, 4.0) == 1.0
  with pytest.raises(InputError, match='passed at every ratio'):
    ratios.crossing(r, general, 2.9)


@pytest.mark.parametrize('rise', [0.01, 0.03, 0.1])
def test_a_trade_off_is_the_best_ratio_that_is_allowed(rise):
  found = mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, rise)
  r = np.linspace(0, 1, 20001)
  inputs = {'N': np.full(r.shape, 1.8e9), 'D': np.full(r.shape, 1e10)}
  law = laws.get('dcpt')
  general = law.predict(GENERAL, {**inputs, 'r': 1 - r})
  allowed = general <= (1 + rise) * at(GENERAL, N=1.8e9, D=1e10, r=1.0)
  loss = law.predict(DOMAIN, {**inputs, 'r': r})
  assert found.inputs['r'] == pytest.approx(r[allowed][np.argmin(loss[allowed])], abs=1e-4)
  assert found.losses['domain']['loss'] == pytest.approx(loss[allowed].min(), abs=1e-5)
  assert found.losses['general']['loss'] <= found.limit * (1 + 1e-6)
  low, high = found.intervals['r']
  assert low < found.inputs['r'] < high
  for loss in found.losses.values():
    assert loss['prediction'][0] < loss['confidence'][0] < loss['loss'] < loss['prediction'][1]


def test_a_trade_off_counts_from_the_base_models_loss():
  usual = mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, 0.02)
  base = at(GENERAL, N=1.8e9, D=1e10, r=1.0)
  again = mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, 0.02, general_loss=base)
  assert again.inputs == usual.inputs
  more = mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, 0.02, general_loss=1.02 * base)
  assert more.limit == pytest.approx(1.02**2 * base) and more.inputs['r'] > usual.inputs['r']
  with pytest.raises(InputError, match='no ratio'):
    mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, 0.02, general_loss=0.5 * base)


def test_a_law_that_jumps_at_no_domain_at_all_says_so():
  """r^eta with a small eta is 0 at r = 0 and nearly B beside it, between the ratios trained."""
  for eta, said in ((1.3, False), (0.02, True)):
    found = mixture.limited_domain_data(made({**DOMAIN, 'B': 200.0, 'eta': eta}), 1.8e9, 5e9)
    assert any('the law rises by' in w and 'r = 0 to' in w for w in found.warnings) == said


def test_a_limit_that_is_not_reached_is_said():
  found = mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, 5.0)
  easy = mixture.limited_domain_data(made({**DOMAIN, 'B': 1e-3}), 1.8e9, 5e9)
  assert 0 < found.inputs['r'] <= 1
  assert easy.inputs['r'] == 1 and any('not bracketed' in w for w in easy.warnings)


@pytest.mark.parametrize('tokens', [5e8, 5e9])
def test_limited_domain_data_has_an_inner_optimum(tokens):
  truth = {**DOMAIN, 'B': 4000.0, 'eta': 0.6}
  found = mixture.limited_domain_data(made(truth), 1.8e9, tokens)
  best = optimize.minimize_scalar(lambda r: at(truth, N=1.8e9, D=tokens / r, r=r),
                                  bounds=(1e-3, 1), method='bounded', options={'xatol': 1e-9})
  assert found.inputs['r'] == pytest.approx(best.x, rel=2e-3)
  assert found.losses['domain']['loss'] == pytest.approx(best.fun, abs=1e-7)
  assert found.inputs['D'] * found.inputs['r'] == pytest.approx(tokens)
  assert found.intervals['r'][0] < found.inputs['r'] < found.intervals['r'][1]


FORMS = {'dcpt': DOMAIN,
         'dcpt_l1': {k: v for k, v in DOMAIN.items() if k != 'eta'},
         'dcpt_l4': {k: v for k, v in DOMAIN.items() if k not in ('eta', 'gamma', 'eps')}
         | {'b': 1.7, 'c': 4.0},
         'dcpt_l5': {k: DOMAIN[k] for k in ('E', 'A', 'B', 'alpha', 'beta')} | {'sigma': 0.2}}


@pytest.mark.parametrize('law', FORMS)
def test_an_allocation_at_fixed_ratio_is_chinchillas(law):
  """At fixed r every form is E' + A/N^alpha + B'/D^beta; B' differs."""
  truth, r, flops = FORMS[law], 0.4, 3e20
  bent = {'dcpt': r ** truth.get('eta', 0), 'dcpt_l1': 1.0, 'dcpt_l4': truth.get('b', 1) ** r,
          'dcpt_l5': (r + (1 - r) * truth.get('sigma', 1)) ** -truth['beta']}[law]
  found = mixture.allocation(made(truth, law), flops, r)
  best = laws.get('chinchilla').best({**truth, 'B': truth['B'] * bent}, flops)
  for name in ('N', 'D'):
    assert found.inputs[name] == pytest.approx(float(best[name]), rel=1e-8)
    assert found.intervals[name][0] < found.inputs[name] < found.intervals[name][1]
  assert 6 * found.inputs['N'] * found.inputs['D'] == pytest.approx(flops)


def test_no_allocation_where_data_do_not_matter():
  with pytest.raises(InputError, match='no allocation is best at r = 0'):
    mixture.allocation(made(DOMAIN), 1e21, 0.0)


def test_fits_without_refits_give_no_interval_of_the_ratio():
  found = mixture.trade_off(made(DOMAIN, samples=0), made(GENERAL), 1.8e9, 1e10, 0.03)
  assert found.intervals == {} and any('no interval' in w for w in found.warnings)


def profiled(noise):
  return dataclasses.replace(made(DOMAIN, noise=noise, samples=0), interval_method=PROFILE)


def test_fits_with_profiles_are_refitted_for_the_interval_of_the_ratio():
  """Of the law's parameters as wide as the noise; and none of few groups."""
  widths = []
  for noise in (0.002, 0.004):
    (params,), missing = mixture._samples(profiled(noise))
    loss = laws.get('dcpt').predict(params, {'N': 1.8e9, 'D': 1e10, 'r': 0.3})
    widths.append(np.ptp(np.quantile(loss, [0.05, 0.95])))
    assert not missing and abs(np.median(loss) / at(DOMAIN, N=1.8e9, D=1e10, r=0.3) - 1) < noise
  assert 1.6 < widths[1] / widths[0] < 2.4
  few = dataclasses.replace(profiled(0.004), groups=np.arange(GRID['N'].size) % 26)
  found, missing = mixture._samples(few)
  assert not found and 'three groups a parameter' in missing[0]


def test_wrong_questions_are_one_line():
  domain, general = made(DOMAIN), made(GENERAL)
  flat = dataclasses.replace(domain, law=laws.get('chinchilla'))
  for ask in (lambda: mixture.trade_off(domain, general, -1, 1e10, 0.03),
              lambda: mixture.trade_off(domain, general, 1e9, 1e10, 0.0),
              lambda: mixture.trade_off(flat, general, 1e9, 1e10, 0.03),
              lambda: mixture.limited_domain_data(domain, 1e9, np.inf),
              lambda: mixture.allocation(domain, 1e21, 1.5)):
    with pytest.raises(InputError) as error:
      ask()
    assert '\n' not in str(error.value)


def test_design_requirements_are_checked_where_the_data_are():
  law = laws.get('dcpt')
  assert dcpt.violations(law, {**DOMAIN, 'B': 40.0}, GRID) == []
  # B r^eta / D^beta rises with r, steeply near 0 for eta < 1: dL/dr > 0 there, and nowhere else.
  small = {**GRID, 'r': np.where(GRID['r'] == 0, 1e-6, GRID['r'])}
  said, = dcpt.violations(law, {**DOMAIN, 'B': 40.0, 'eta': 0.5}, small)
  assert 'dL/dr is positive' in said and 'r = 1e-06' in said
  rising = dcpt.violations(laws.get('dcpt_l4'), {**FORMS['dcpt_l4'], 'b': 0.5}, GRID)
  assert any('d2L/dDdr' in w for w in rising)


def test_a_fit_warns_where_its_law_rises():
  """With hardly any C, B r^eta / D^beta makes the loss rise with r; the plain fit says so."""
  small = {k: v[GRID['r'] > 0] for k, v in GRID.items()}
  for eta, broken in ((1.3, False), (0.5, True)):
    truth = {**DOMAIN, 'eta': eta, 'B': 60.0 if broken else 40.0, 'C': 1e-3 if broken else 0.2}
    loss = laws.get('dcpt').predict(truth, small)
    held = laws.fix(laws.get('dcpt'), {k: truth[k] for k in ('eta', 'alpha', 'eps', 'gamma')})
    said = [w for w in fit.fit(held, small, loss, bootstrap=0).warnings if 'should fall' in w]
    assert bool(said) == broken and all(w.startswith('d') and 'r from' in w for w in said)


def test_learnability_from_a_curve():
  tokens = np.linspace(0, 1e10, 101)
  loss = 2 + 0.9 * np.exp(-tokens / 2e9)
  assert dcpt.first_loss(tokens[::-1], loss[::-1]) == pytest.approx(2.9)
  assert dcpt.early_decline(tokens, loss, share=0.02) == pytest.approx(0.9 / 2e9, rel=0.06)
  assert dcpt.early_decline([0, 1e9], [3.0, 2.5]) == pytest.approx(5e-10)
  with pytest.raises(InputError, match='does not fall'):
    dcpt.early_decline([0, 1e9], [2.5, 3.0])


def test_mixing_of_two_domains_is_mixing():
  law = mixing.of(('a', 'b'))
  r = np.linspace(0, 1, 5)
  np.testing.assert_allclose(
      law.predict({'c': 1.3, 'k': np.exp(-0.6), 't_a': -2.4}, {'r_a': r}),
      laws.get('mixing').predict({'c': 1.3, 'k': -2.4, 'b': -0.6}, {'r': r}), rtol=1e-14)
  assert laws.get('mixing(a,b)') is law and law.inputs == ('r_a',)
  for wrong in ('mixing(a)', 'mixing(a,a)', 'mixing(a,b', 'mixing(a, b c)'):
    with pytest.raises(InputError):
      laws.get(wrong)


def test_offset_makes_the_reducible_loss_straight():
  r = np.linspace(0.1, 0.9, 7)
  assert mixing.offset(r, 1.2 + np.exp(-2 * r - 0.5)) == pytest.approx(1.2, abs=2e-3)
  with pytest.raises(InputError):
    mixing.offset([0.5, 0.5, 0.5], [1.0, 2.0, 3.0])


def test_the_best_split_of_encoder_and_decoder():
  truth = {'alpha': 150.0, 'p_e': 0.2, 'p_d': 0.3, 'L_inf': 1.1}
  best = nmt.split(truth, 1e9)
  assert best['N_e'] == pytest.approx(4e8) and best['N_d'] == pytest.approx(6e8)
  found = optimize.minimize_scalar(
      lambda n: float(laws.get('nmt').predict(truth, {'N_e': n, 'N_d': 1e9 - n})),
      bounds=(1e6, 9.9e8), method='bounded', options={'xatol': 1.0})
  assert found.x == pytest.approx(4e8, rel=1e-4)
  assert nmt.alpha_at(truth, 4e8, 6e8) == pytest.approx(found.fun - 1.1, rel=1e-9)


def test_effective_parameters_of_a_direction():
  truth = {'c1': 0.3, 'c2': 0.8, 'c3': 1.2}
  fraction = multilingual.effective_fraction(truth, np.array([1e-6, 0.5, 1.0]))
  assert float(fraction[2]) == 1.0 and 0.5 < float(fraction[1]) < 1
  # Sharing a model costs a direction less than its weight alone would.
  assert np.all(np.asarray(fraction) >= [1e-6, 0.5, 1.0])


def test_the_command(tmp_path):
  made(DOMAIN).save(str(tmp_path / 'domain.json'))
  made(GENERAL).save(str(tmp_path / 'general.json'))
  done = run('analysis.mixture', f'--fit={tmp_path}/domain.json', '--N=1.8e9', '--D=1e10',
             f'--general={tmp_path}/general.json', '--max_general_rise=0.03',
             f'--out={tmp_path}/choice.json', f'--plot={tmp_path}/choice.svg')
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'choice.json').read_text())
  direct = mixture.trade_off(made(DOMAIN), made(GENERAL), 1.8e9, 1e10, 0.03)
  assert found['inputs']['r'] == pytest.approx(direct.inputs['r'], rel=1e-5)
  assert 'limit' in done.stdout and (tmp_path / 'choice.svg').stat().st_size > 10_000
  same = dataclasses.replace(made(DOMAIN), extra={'data': {'source': 'w', 'domain': 'code'}})
  same.save(str(tmp_path / 'same.json'))
  twice = run('analysis.mixture', f'--fit={tmp_path}/same.json', f'--general={tmp_path}/same.json',
              '--N=1e9', '--domain_tokens=1e9')
  assert twice.returncode == 2 and 'is a fit of the loss of code, as --fit is' in twice.stderr
  wrong = run('analysis.mixture', f'--fit={tmp_path}/domain.json', '--flops=1e20', '--N=1e9')
  assert wrong.returncode == 2 and '--r is missing' in wrong.stderr


def test_the_other_pictures(tmp_path):
  domain = made(DOMAIN)
  for found in (mixture.allocation(domain, 3e20, 0.4),
                mixture.limited_domain_data(domain, 1.8e9, 5e9)):
    drawing.save(mixture_plot.draw(found, domain, None), str(tmp_path / f'{found.usage}.png'))
    assert (tmp_path / f'{found.usage}.png').stat().st_size > 10_000
