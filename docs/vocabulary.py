"""Rebuilds the tables of docs/vocabulary.md, and its picture, from docs/data/vocabulary.csv.

  python docs/vocabulary.py                                from the committed runs
  python docs/vocabulary.py --workdir=workdir/vocabulary   first writes that CSV from a workdir
  python docs/vocabulary.py --folder=elsewhere ...         the same files in a copy of docs/
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from pages import rewrite, table_of

matplotlib.use('Agg')

# The picture needs the backend to be chosen first.
from analysis import logs, vocabulary
from analysis.pictures import drawing
from analysis.pictures import vocabulary as picture
from analysis.vocabularies import approaches, parting, words
from analysis.vocabularies.runs import METRICS, Runs
from scaling import files

HERE = pathlib.Path(__file__).resolve().parent
STUDY, PROOF = 'vocabulary', 'vocabulary-proof'
COLUMNS = ('study', 'run_id', 'stage', 'lineage', 'trunk', 'seed', 'step', 'share', 'final',
           'held_out', 'lr', 'N', 'N_nonembedding', 'N_v', 'V', 'H', 'D', 'C', 'B')
LOSSES = ('loss', 'loss_se', 'bits_per_byte', 'loss_unigram')
NAMES = {'loss_unigram': 'L_u', 'bits_per_byte': 'bits per byte'}


def export(workdir: str, path: pathlib.Path) -> None:
  """The done runs of the study, and of its proof if there is one, a row an evaluation."""
  there = [study for study in (STUDY, PROOF) if files.exists(f'{workdir}/studies/{study}.json')]
  if not there:
    raise SystemExit(f'{workdir}: no study {STUDY}')
  table = pd.concat([logs.load(workdir, study) for study in there])
  table = table[table['state'] == 'done']
  names = [*COLUMNS, *(f'{m}/{d}' for d in logs.domains(table) for m in LOSSES)]
  path.parent.mkdir(exist_ok=True)
  table[names].to_csv(path, index=False, float_format='%.8g')


def fits_table(values: Mapping[str, Any]) -> str:
  """What each approach found under each metric."""
  rows = []
  for metric, one in values['metrics'].items():
    kept = sum(not m['why'] for m in one['minima'])
    known, fitted = one['approaches'], one['parametric']
    line = [NAMES[metric], f'{kept} of {len(one["minima"])}']
    for name in ('isoflop', 'derivative'):
      p = known[name]['params'] if name in known else None
      line.append(f'C^{p["a"]:.3f} N_nv^{p["g"]:.3f}' if p else 'none')
    forms = ', '.join(f'{k} {v:.4f}' for k, v in fitted['r2_of_forms'].items())
    rows.append([*line, ', '.join(f'{k} {v:.4g}' for k, v in fitted['params'].items()),
                 fitted['form'], forms])
  return table_of(['metric', 'minima bracketed', 'isoFLOP, N_v ~', 'derivative, N_v ~',
                   'parametric', 'form', 'R² of the forms'], rows)


def optima_table(values: Mapping[str, Any], part: str) -> str:
  """The best V by each approach and metric: `part` of fit.json."""
  metrics = list(values['metrics'])
  rows = []
  for i, row in enumerate(values['metrics'][metrics[0]][part]):
    cells = [words.cell(values['metrics'][m][part][i].get(name)) for m in metrics
             for name in approaches.NAMES]
    rows.append([f'{row["N_nv"]:,.0f}', f'{row["C"]:.3g}', f'{row["d"]:.3g}', *cells])
  return table_of(['N_nv', 'FLOPs', 'd', *(f'{NAMES[m]}: {name}' for m in metrics
                                           for name in approaches.NAMES)],
                  [[c.replace('*', r'\*') for c in row] for row in rows])


def checks_table(values: Mapping[str, Any]) -> str:
  return table_of(['metric', 'check', 'value', 'wanted', ''], [
      [NAMES[metric], c['name'], c['value'], c['wanted'], words.MET[c['met']]]
      for metric, one in values['metrics'].items() for c in one['checks']])


def parting_table(values: Mapping[str, Any]) -> str:
  found = values['parting']
  rows = [[f'{row["V"]:.0f}', *(f'{row[k]:.3f}' for k in parting.COLUMNS[1:])]
          for row in found['rows']]
  return table_of(['V', 'L_u', 'H_u', 'loss', 'tokens per byte', 'bits per byte',
                   'unigram code, bits', 'gain on it, bits'], rows) + (
      f'\n\n{parting.said(found)[0].upper()}{parting.said(found)[1:]}.')


def proof_table(values: Mapping[str, Any], study: Runs, table: pd.DataFrame, domain: str) -> str:
  """Measured losses at V, half and double of it, and what the fits say of the best one.

  All runs have the same FLOPs (to within half a step), which is where a best V is defined.
  """
  final = table[table['final'].astype(bool)]
  final = final.assign(C=6 * (final['N_nonembedding'] + final['N_v']) * final['D'])
  size = float(final['N_nonembedding'].iloc[0])
  d = float((final['N_v'] / final['V']).iloc[0])
  C = float(final['C'].mean())
  if np.ptp(final['C']) > 0.01 * C:
    raise SystemExit(f'{PROOF}: its runs differ in FLOPs, {final["C"].min():.4g} to '
                     f'{final["C"].max():.4g}; a best vocabulary is one of equal FLOPs')
  lines, said = [], []
  fits = {m: approaches.parametric(study, m, values['metrics'][m]['parametric']['tied'], 0, 0.9,
                                   values['metrics'][m]['parametric']['form']) for m in METRICS}
  for V, rows in final.groupby('V'):
    D = rows['D'].mean()
    inputs = {'N_nv': size, 'N_v': V * d, 'V': V, 'D': D,
              'H': D / study.scale.tokens_per_char(V)}
    cells = [f'{V:.0f}', f'{rows["H"].mean():,.0f}', f'{D:,.0f}', str(len(rows))]
    for metric, found in fits.items():
      guess = found.predict({k: np.array([float(inputs[k])]) for k in found.law.inputs})
      cells += [f'{float(guess[0]):.4f}', spread(rows[f'{metric}/{domain}'])]
    lines.append(cells)
  for metric in METRICS:
    found = vocabulary.predict(values, metric, [size], flops=[C], widths=[d])['rows'][0]
    best = [lowest(rows['V'], rows[f'{metric}/{domain}']) for _, rows in final.groupby('seed')]
    said.append(f'{NAMES[metric]}, at N_nv {size:,.0f} and {C:.4g} FLOPs: predicted '
                + ', '.join(f'{name} {words.cell(found.get(name))}' for name in approaches.NAMES)
                + '; by the runs alone ' + ', '.join(best) + f' ({len(best)} seeds).')
  head = ['V', 'characters', 'tokens', 'seeds',
          *(f'{NAMES[m]}, {what}' for m in METRICS for what in ('predicted', 'measured'))]
  return table_of(head, lines) + '\n\n' + '\n\n'.join(s.replace('*', r'\*') for s in said)


def spread(values: pd.Series) -> str:
  return f'{values.mean():.4f}' + (f' ± {values.std():.4f}' if len(values) > 1 else '')


def lowest(V: pd.Series, loss: pd.Series) -> str:
  """The vertex of the parabola in ln V through three vocabularies; at an end, which."""
  order = np.argsort(V.to_numpy(float))
  x, y = np.log(V.to_numpy(float))[order], loss.to_numpy(float)[order]
  low = int(np.argmin(y))
  if low in (0, len(x) - 1):
    return ('below ' if low == 0 else 'above ') + f'{np.exp(x[low]):.0f}'
  a, b, _ = np.polyfit(x[low - 1:low + 2], y[low - 1:low + 2], 2)
  return f'{np.exp(-b / (2 * a)):.0f}'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', help='write the table from this workdir first')
  parser.add_argument('--folder', default=str(HERE), help='where vocabulary.md and data/ are')
  parser.add_argument('--bootstrap', type=int, default=200)
  asked = parser.parse_args()
  folder = pathlib.Path(asked.folder)
  data, text = folder / 'data' / 'vocabulary.csv', folder / 'vocabulary.md'
  if asked.workdir:
    export(asked.workdir, data)
  if not data.exists():
    raise SystemExit(f'{data}: not there yet; give --workdir')
  table = pd.read_csv(data)
  domain = logs.domains(table)[0]
  study = vocabulary.of_table(table[table['study'] == STUDY], domain, source=str(data))
  values = vocabulary.study_of(study, bootstrap=asked.bootstrap)
  bodies = {'fits': fits_table(values), 'compute': optima_table(values, 'against_compute')
            + '\n\n![The best vocabulary against compute and size](vocabulary.png)',
            'sizes': optima_table(values, 'against_size'), 'checks': checks_table(values),
            'parting': parting_table(values)}
  proof = table[table['study'] == PROOF]
  if len(proof):
    bodies['proof'] = proof_table(values, study, proof, domain)
  rewrite(text, bodies)
  drawing.save(picture.draw(values, 'loss_unigram'), str(folder / 'vocabulary.png'))
  print(f'written: {text}, {folder / "vocabulary.png"}')


if __name__ == '__main__':
  main()
