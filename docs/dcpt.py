"""Rebuilds the tables of docs/dcpt.md, and docs/dcpt.png, from docs/data/dcpt.csv.

  python docs/dcpt.py                          tables and picture from the committed runs
  python docs/dcpt.py --workdir=workdir/dcpt   first writes docs/data/dcpt.csv from that workdir
"""

from __future__ import annotations

import argparse
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use('Agg')

# The picture needs the backend to be chosen first.
from analysis import fit, laws, logs, metrics, mixture, validation
from analysis.fit import Fit
from analysis.pictures import drawing
from configs import dcpt
from scaling import files

HERE = pathlib.Path(__file__).resolve().parent
DATA, TEXT, PICTURE = HERE / 'data' / 'dcpt.csv', HERE / 'dcpt.md', HERE / 'dcpt.png'
STUDIES = ('dcpt', 'dcpt-trade_off', 'dcpt-limited')
GENERAL, DOMAINS = dcpt.SCALES['cpu'].general, dcpt.SCALES['cpu'].domains
MAX_RISE = 0.03
COLUMNS = ('study', 'run_id', 'stage', 'lineage', 'trunk', 'seed', 'step', 'share', 'final', 'lr',
           'N', 'N_nonembedding', 'D', 'B')
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
  """The final rows of one domain's mixtures with the general corpus."""

  def __init__(self, table: pd.DataFrame, domain: str, study: str = 'dcpt'):
    others = [d for d in DOMAINS if d != domain]
    rows = table[(table['study'] == study) & (table['stage'] == 0) & table['final']]
    self.rows = rows[(rows[[f'r/{d}' for d in others]] == 0).all(axis=1)]
    self.domain = domain

  def side(self, corpus: str) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Inputs of the law and losses on one corpus, and groups: what shares a trunk."""
    rows = self.rows
    inputs = {'N': rows['N'], 'D': rows['D'], 'r': rows[f'r/{corpus}']}
    return ({k: v.to_numpy(float) for k, v in inputs.items()},
            rows[f'loss/{corpus}'].to_numpy(float), rows['trunk'].to_numpy(object))

  def fit(self, corpus: str, law: str = 'dcpt', **options: Any) -> Fit:
    inputs, loss, groups = self.side(corpus)
    found = laws.get(law)
    return fit.fit(found, {k: inputs[k] for k in found.inputs}, loss, groups=groups, **options)


def percent(value: float) -> str:
  return f'{100 * value:.2f} %'


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def fits_table(studies: Sequence[Study]) -> str:
  """In-sample and k-fold errors of dcpt on every side."""
  rows = []
  for study in studies:
    for corpus in (study.domain, GENERAL):
      inputs, loss, _ = study.side(corpus)
      found = study.fit(corpus, bootstrap=0)
      own = np.arange(len(loss)).astype(str)
      line = [study.domain, corpus, str(len(loss)), f'{found.metrics["r2"]:.4f}',
              percent(found.metrics['mean_relative_error'])]
      for kind in ('r', 'N', 'D', 'largest'):
        folds = validation.split(kind, inputs, own)
        seen = validation.validate(laws.get('dcpt'), inputs, loss, kind, folds, groups=own)
        line.append(f'{percent(seen.metrics["mean_relative_error"])}, {seen.metrics["r2"]:.3f}')
      rows.append(line)
  return table_of(['mixed with', 'loss on', 'runs', 'R²', 'error', 'left-out r', 'left-out N',
                   'left-out D', 'largest N'], rows)


def forms_table(studies: Sequence[Study]) -> str:
  """The known forms, and Chinchilla's at each ratio by itself."""
  rows = []
  for study in studies:
    for corpus in (study.domain, GENERAL):
      inputs, loss, _ = study.side(corpus)
      line = [study.domain, corpus]
      for law in ('dcpt', 'dcpt_l1', 'dcpt_l4', 'dcpt_l5', 'chinchilla'):
        found = study.fit(corpus, law, bootstrap=0)
        line.append(f'{percent(found.metrics["mean_relative_error"])}, {found.metrics["r2"]:.4f}')
      alone = np.empty_like(loss)
      for r in np.unique(inputs['r']):
        rows_r = inputs['r'] == r
        x = {k: inputs[k][rows_r] for k in ('N', 'D')}
        alone[rows_r] = fit.fit(laws.get('chinchilla'), x, loss[rows_r], bootstrap=0).predict(x)
      found_alone = metrics.all_of(loss, alone)
      line.append(f'{percent(found_alone["mean_relative_error"])}, {found_alone["r2"]:.4f}')
      rows.append(line)
  return table_of(['mixed with', 'loss on', 'dcpt (9)', 'dcpt_l1 (8)', 'dcpt_l4 (8)', 'dcpt_l5 (6)',
                   'chinchilla (5), r ignored', 'chinchilla at each r (35)'], rows)


def choices(study: Study) -> dict[str, mixture.Choice]:
  """The answers of both usages at the size and budgets of the proof."""
  domain, general = study.fit(study.domain), study.fit(GENERAL)
  sizes = np.unique(study.rows[['N', 'N_nonembedding']].to_numpy(float), axis=0)
  N = float(sizes[np.argmin(np.abs(np.log(sizes[:, 1] / dcpt.PROOF_SIZE))), 0])
  D = float(study.rows['D'].max())
  return {'trade_off': mixture.trade_off(domain, general, N, D, MAX_RISE),
          'limited': mixture.limited_domain_data(domain, N, dcpt.PROOF_DOMAIN_TOKENS, general)}


def proof_rows(table: pd.DataFrame, usage: str, domain: str) -> pd.DataFrame:
  """Mean and standard deviation over seeds of both losses at every validated ratio."""
  rows = Study(table, domain, f'dcpt-{usage}').rows
  by = rows.groupby(f'r/{domain}')
  found = by.agg(D=('D', 'mean'), seeds=('seed', 'nunique'),
                 **{f'{kind}_{stat}': (f'loss/{corpus}', stat)
                    for kind, corpus in (('domain', domain), ('general', GENERAL))
                    for stat in ('mean', 'std')})
  return found.reset_index(names='r')


def proof_table(table: pd.DataFrame, study: Study, usage: str, choice: mixture.Choice) -> str:
  domain, general = study.fit(study.domain, bootstrap=0), study.fit(GENERAL, bootstrap=0)
  rows, found_rows = [], proof_rows(table, usage, study.domain)
  nearest = found_rows['r'].iloc[(found_rows['r'] - choice.inputs['r']).abs().argmin()]
  for row in found_rows.itertuples():
    cells = [f'**{row.r:.3g}**' if row.r == nearest else f'{row.r:.3g}',
             f'{row.D:,.0f}']
    for found, r, mean, std in ((domain, row.r, row.domain_mean, row.domain_std),
                                (general, 1 - row.r, row.general_mean, row.general_std)):
      guess = float(found.predict({'N': [choice.inputs['N']], 'D': [row.D], 'r': [r]})[0])
      cells += [f'{guess:.4f}', f'{mean:.4f} ± {std:.4f}', f'{100 * (guess / mean - 1):+.2f} %']
    rows.append(cells)
  return table_of(['r', 'D', 'domain, predicted', 'measured', 'error', 'general, predicted',
                   'measured', 'error'], rows)


def measured(table: pd.DataFrame, usage: str, domain: str) -> tuple[float, float, int]:
  """The best ratio by the runs alone: mean and standard deviation over seeds, and seeds.

  trade_off: where the general loss, linear between the ratios trained, passes 1 + MAX_RISE times
  that at r = 0. limited: the lowest point of the parabola through the best ratio and its two
  neighbours. A seed without either counts as its nearest end.
  """
  best = []
  for _, rows in Study(table, domain, f'dcpt-{usage}').rows.groupby('seed'):
    rows = rows.sort_values(f'r/{domain}')
    r, loss = rows[f'r/{domain}'].to_numpy(float), rows[f'loss/{domain}'].to_numpy(float)
    if usage == 'trade_off':
      general = rows[f'loss/{GENERAL}'].to_numpy(float)
      best.append(float(np.interp((1 + MAX_RISE) * general[0], general, r)))
      continue
    at = int(np.argmin(loss))
    if 0 < at < len(r) - 1:
      a, b, _ = np.polyfit(r[at - 1:at + 2], loss[at - 1:at + 2], 2)
      best.append(float(-b / (2 * a)))
    else:
      best.append(float(r[at]))
  return float(np.mean(best)), float(np.std(best, ddof=1)) if len(best) > 1 else 0.0, len(best)


@drawing.styled
def picture(table: pd.DataFrame, study: Study, found: dict[str, mixture.Choice]) -> Any:
  """Both losses against r: the law, the runs of the proof with their seeds, the choice."""
  domain, general = study.fit(study.domain, bootstrap=0), study.fit(GENERAL, bootstrap=0)
  figure, panels = drawing.panels(3, height=3.6)
  where = (('trade_off', 'domain', domain), ('trade_off', 'general', general),
           ('limited', 'domain', domain))
  for axes, (usage, kind, fitted) in zip(panels, where, strict=True):
    choice, r = found[usage], np.linspace(0.0 if usage == 'trade_off' else 0.1, 1.0, 161)
    D = (np.full_like(r, choice.inputs['D']) if usage == 'trade_off'
         else dcpt.PROOF_DOMAIN_TOKENS / r)
    own = r if kind == 'domain' else 1 - r
    axes.plot(r, fitted.predict({'N': np.full_like(r, choice.inputs['N']), 'D': D, 'r': own}),
              color=drawing.INK, lw=1.3, label='law')
    corpus = study.domain if kind == 'domain' else GENERAL
    runs = Study(table, study.domain, f'dcpt-{usage}').rows
    axes.plot(runs[f'r/{study.domain}'], runs[f'loss/{corpus}'], 'o', ms=3.5, mfc='none',
              label='runs, three seeds')
    if usage == 'trade_off':
      grid = study.rows[(study.rows['N'] == choice.inputs['N'])
                        & (study.rows['D'] == choice.inputs['D'])]
      axes.plot(grid[f'r/{study.domain}'], grid[f'loss/{corpus}'], 's', ms=4, mfc='none',
                color=drawing.INK, label='runs fitted')
    axes.axvline(choice.inputs['r'], color=drawing.HELD, lw=1, label='predicted ratio')
    ends = choice.intervals.get('r')
    if ends:
      axes.axvspan(*ends, color=drawing.HELD, alpha=0.12, lw=0, label='its 90 % interval')
    if kind == 'general' and choice.limit:
      axes.axhline(choice.limit, color=drawing.HELD, lw=1, ls='--', label='limit')
    axes.set_xlabel(f'r, share of {study.domain}')
    axes.set_ylabel(f'loss on {corpus}, nats per token')
    axes.set_title({'trade_off': f'{kind} loss, D fixed',
                    'limited': f'{kind} loss, domain tokens fixed'}[usage], fontsize=10)
    axes.legend(fontsize=7)
  return figure


def rewrite(name: str, body: str) -> None:
  """Puts a table between its markers in docs/dcpt.md."""
  text = TEXT.read_text()
  pattern = rf'(<!-- {name} -->\n).*?(<!-- end -->)'
  if not re.search(pattern, text, re.S):
    raise SystemExit(f'{TEXT}: no marker <!-- {name} -->')
  TEXT.write_text(re.sub(pattern, lambda m: f'{m[1]}{body}\n{m[2]}', text, flags=re.S))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--workdir', help='write the table from this workdir first')
  workdir = parser.parse_args().workdir
  if workdir:
    export(workdir)
  table = pd.read_csv(DATA)
  studies = [Study(table, domain) for domain in DOMAINS]
  rewrite('fits', fits_table(studies))
  rewrite('forms', forms_table(studies))
  found = choices(studies[0])
  answers = [[usage, f'{c.inputs["r"]:.3f}', '{:.3f} to {:.3f}'.format(*c.intervals['r']),
              f'{c.inputs["D"]:,.0f}', f'{c.losses["domain"]["loss"]:.4f}',
              f'{c.losses["general"]["loss"]:.4f}', f'{c.limit:.4f}' if c.limit else '']
             for usage, c in found.items()]
  rewrite('choices', table_of(['usage', 'r', '90 % interval', 'D', 'domain loss', 'general loss',
                               'limit'], answers))
  for usage, choice in found.items():
    if (table['study'] == f'dcpt-{usage}').any():
      mean, spread, seeds = measured(table, usage, studies[0].domain)
      low, high = choice.intervals['r']
      said = (f'By the runs alone the best ratio is {mean:.3f} ± {spread:.3f} ({seeds} seeds); the '
              f'law says {choice.inputs["r"]:.3f}, from {low:.3f} to {high:.3f}.')
      rewrite(usage, f'{proof_table(table, studies[0], usage, choice)}\n\n{said}')
  drawing.save(picture(table, studies[0], found), str(PICTURE))
  print(f'written: {TEXT}, {PICTURE}')


if __name__ == '__main__':
  main()
