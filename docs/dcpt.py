"""Rebuilds the tables of docs/dcpt.md, and docs/dcpt.png, from docs/data/dcpt.csv.

  python docs/dcpt.py                          tables and picture from the committed runs
  python docs/dcpt.py --workdir=workdir/dcpt   first writes docs/data/dcpt.csv from that workdir
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dcpt_proof
import matplotlib
import numpy as np
import pandas as pd
from dcpt_proof import verdict
from dcpt_runs import (
    BOOTSTRAP,
    DATA,
    DOMAINS,
    GENERAL,
    HERE,
    LAW,
    MAX_RISE,
    Study,
    export,
    fit_of,
    percent,
    reaches,
)
from pages import rewrite, table_of

from analysis import cross_domain, laws, metrics, mixture, validation
from analysis.pictures import drawing
from analysis.reading import domains, rewarming
from analysis.validation import Validation

matplotlib.use('Agg')

TEXT, PICTURE = HERE / 'dcpt.md', HERE / 'dcpt.png'
KINDS = ('r', 'N', 'D', 'largest')
FITTED = (LAW, 'dcpt')
Folds = dict[tuple[str, str, str, str], Validation]  # by domain, corpus, law, kind


def validated(studies: Sequence[Study]) -> Folds:
  """Every side and law on every split: ratios, sizes and budgets left out, the largest size."""
  found = {}
  for study in studies:
    for corpus in study.sides:
      inputs, loss = study.inputs(corpus)
      own = np.arange(len(loss)).astype(str)
      for kind in KINDS:
        folds = validation.split(kind, inputs, own)
        for law in FITTED:
          found[study.domain, corpus, law, kind] = validation.validate(
              laws.get(law), inputs, loss, kind, folds, groups=own)
  return found


def checks_table(studies: Sequence[Study], folds: Folds, proof: list[list[str]]) -> str:
  """What the study must reach, and what it does."""
  rows = []
  for study in studies:
    for corpus in study.sides:
      r2 = study.fit(corpus).metrics['r2']
      rows.append(['R² in-sample', study.domain, corpus, '>= 0.97', f'{r2:.4f}',
                   verdict(r2 >= 0.97)])
      for name, kind, limit in (('left-out ratios, mean error', 'r', 0.01),
                                ('largest size left out, mean error', 'largest', 0.03)):
        error = folds[study.domain, corpus, LAW, kind].metrics['mean_relative_error']
        rows.append([name, study.domain, corpus, f'<= {100 * limit:g} %',
                     '' if error is None else percent(error),
                     verdict(error is not None and error <= limit)])
  return table_of(['check', 'mixed with', 'loss on', 'asked', 'found', 'kept'],
                  sorted(rows, key=lambda row: row[0] != 'R² in-sample') + proof)


def fits_table(studies: Sequence[Study], folds: Folds) -> str:
  """In-sample and k-fold errors of the law, with eta >= 1 and free, on every side."""
  rows = []
  for study in studies:
    for corpus in study.sides:
      for law in FITTED:
        found = study.fit(corpus, law)
        line = [study.domain, corpus, law, str(len(study.final)), f'{found.metrics["r2"]:.4f}',
                percent(found.metrics['mean_relative_error'])]
        for kind in KINDS:
          seen = folds[study.domain, corpus, law, kind].metrics
          line.append('' if seen['r2'] is None else
                      f'{percent(seen["mean_relative_error"] or 0)}, {seen["r2"]:.3f}')
        rows.append(line)
  return table_of(['mixed with', 'loss on', 'law', 'runs', 'R²', 'error', 'left-out r',
                   'left-out N', 'left-out D', 'largest N'], rows)


def parameters_table(studies: Sequence[Study]) -> str:
  """The fitted parameters of every side."""
  names = laws.get(LAW).names
  rows = [[study.domain, corpus, law, *(f'{study.fit(corpus, law).params[n]:.3g}' for n in names)]
          for study in studies for corpus in study.sides for law in FITTED]
  return table_of(['mixed with', 'loss on', 'law', *names], rows)


def ratios_table(study: Study) -> str:
  """Mean error at each ratio, as the share of the domain, predicted from all the others."""
  rows = []
  shares = np.unique(study.final[f'r/{study.domain}'])
  for corpus in study.sides:
    inputs, loss = study.inputs(corpus)
    shown = shares if corpus == study.domain else 1 - shares
    own = np.arange(len(loss)).astype(str)
    for law in FITTED:
      seen = validation.validate(
          laws.get(law), inputs, loss, 'r', groups=own,
          folds=validation.split('r', inputs, own, folds=len(shown)))
      error = np.abs(seen.predicted / seen.actual - 1)
      cells = [error[np.isclose(inputs['r'][seen.rows], r)] for r in shown]
      rows.append([f'{corpus}, {law}', *(percent(e.mean()) if len(e) else '' for e in cells),
                   percent(error.mean())])
  return table_of(['loss on, law', *(f'r = {r:g}' for r in shares), 'all'], rows)


def forms_table(studies: Sequence[Study]) -> str:
  """The known forms, and Chinchilla's at each ratio by itself."""
  rows = []
  for study in studies:
    for corpus in study.sides:
      inputs, loss = study.inputs(corpus)
      line = [study.domain, corpus, *(
          _quality(study.fit(corpus, law).metrics)
          for law in (*FITTED, 'dcpt_l1', 'dcpt_l4', 'dcpt_l5', 'chinchilla'))]
      alone, each = np.empty_like(loss), np.unique(inputs['r'])
      for r in each:
        at = inputs['r'] == r
        x = {k: inputs[k][at] for k in ('N', 'D')}
        alone[at] = fit_of(laws.get('chinchilla'), x, loss[at]).predict(x)
      rows.append([*line, _quality(metrics.all_of(loss, alone))])
  return table_of(['mixed with', 'loss on', f'{LAW} (9)', 'dcpt (9)', 'dcpt_l1 (8)', 'dcpt_l4 (8)',
                   'dcpt_l5 (6)', 'chinchilla (5), r ignored',
                   'chinchilla at each r (5 each)'], rows)


def along_table(studies: Sequence[Study]) -> str:
  """Fits of the points along the runs, cut after the peak of re-warming or at a share."""
  rows = []
  for study in studies:
    runs = study.every
    for after in ('peak', '0.2'):
      kept = runs[rewarming.cut(study.workdir, runs, after).keep]
      line = [study.domain, after, f'{len(kept)} of {len(runs)}']
      for corpus in study.sides:
        inputs = {'N': kept['N'], 'D': kept['D'], 'r': kept[f'r/{corpus}']}
        found = fit_of(laws.get(LAW), {k: v.to_numpy(float) for k, v in inputs.items()},
                       rewarming.along(kept, corpus))
        line.append(_quality(found.metrics))
      rows.append(line)
  return table_of(['mixed with', '`--after`', 'points', 'domain', 'general'], rows)


def critical_table(study: Study) -> str:
  """The critical mixture ratio by its definition, of the law and of the runs, by size and D."""
  domain, general = (study.fit(corpus) for corpus in study.sides)
  budgets, rows = np.unique(study.final['D']), []
  for N in np.unique(study.final['N']):
    line = [f'{N:,.0f}']
    for D in budgets:
      runs = study.final[(study.final['N'] == N) & (study.final['D'] == D)]
      runs = runs.sort_values(f'r/{study.domain}')
      loss = runs[f'loss/{GENERAL}'].to_numpy(float)
      seen = reaches(runs[f'r/{study.domain}'].to_numpy(float), loss, (1 + MAX_RISE) * loss[0])
      said = mixture.trade_off(domain, general, float(N), float(D), MAX_RISE).inputs['r']
      line.append(f'{said:.3f}, {seen:.3f}')
    rows.append(line)
  return table_of(['N', *(f'D = {D:,.0f}' for D in budgets)], rows)


def cross_table(study: Study) -> str:
  """Each domain from the law of the others and its first evaluations."""
  found = cross_domain.leave_one_out(domains.of_runs(study.workdir, DOMAINS, 0.1),
                                     bootstrap=BOOTSTRAP)
  rows = [[result.domain, result.law, f'{result.k1:.3f}',
           '' if result.k2 is None else f'{result.k2:.2e}', percent(result.cost or 0),
           _quality(result.metrics), f'{100 * result.level_error:+.1f} %',
           '' if result.shape is None else f'{result.shape:.3f}',
           '' if result.inside is None else f'{100 * result.inside:.0f} %'] for result in found]
  return table_of(['left out', 'law', 'k1', 'k2', 'cost', 'error, R²', 'level', 'R² without it',
                   'inside 90 %'], rows)


def _quality(found: dict[str, float | None]) -> str:
  return f'{percent(found["mean_relative_error"] or 0)}, {found["r2"]:.4f}'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', help='write the table from this workdir first')
  workdir = parser.parse_args().workdir
  if workdir:
    export(workdir)
  table = pd.read_csv(DATA)
  studies = [Study(table, domain) for domain in DOMAINS]
  study, folds = studies[0], validated(studies)
  found = dcpt_proof.choices(study)
  proofs = {usage: dcpt_proof.proof_rows(table, study, usage, choice)
            for usage, choice in found.items() if (table['study'] == f'dcpt-{usage}').any()}
  checks = checks_table(studies, folds, dcpt_proof.checks(proofs, study.domain))
  bodies = {'checks': checks, 'fits': fits_table(studies, folds),
            'parameters': parameters_table(studies), 'ratios': ratios_table(studies[0]),
            'ratios_cpp': ratios_table(studies[1]), 'forms': forms_table(studies),
            'along': along_table(studies), 'choices': dcpt_proof.choices_table(found),
            'critical': critical_table(study), 'cross': cross_table(study)}
  for usage, rows in proofs.items():
    said = dcpt_proof.said(table, study, usage, found[usage], rows)
    bodies[usage] = f'{dcpt_proof.proof_table(rows)}\n\n{said}'
  rewrite(TEXT, bodies)
  drawing.save(dcpt_proof.picture(table, study, found), str(PICTURE))
  print(checks)
  for usage in dcpt_proof.USAGES:
    if usage not in proofs:
      print(f'not proved: no runs of {usage}; train configs/dcpt.py:{usage}='
            f'{found[usage].inputs["r"]:.4g}')
  print(f'written: {TEXT}, {PICTURE}')


if __name__ == '__main__':
  main()
