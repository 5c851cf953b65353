"""The choices of the D-CPT study, the runs that put them to the proof, and their picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from dcpt_runs import BOOTSTRAP, GENERAL, MAX_RISE, Study, percent, reaches
from pages import table_of

from analysis import mixture
from analysis.mixture import Choice
from analysis.pictures import drawing
from configs import dcpt

USAGES = ('trade_off', 'limited')


def choices(study: Study) -> dict[str, Choice]:
  """The answers of both usages at the size and budgets of the proof."""
  domain, general = (study.fit(corpus, bootstrap=BOOTSTRAP) for corpus in study.sides)
  N, D = study.size(), float(study.final['D'].max())
  return {'trade_off': mixture.trade_off(domain, general, N, D, MAX_RISE),
          'limited': mixture.limited_domain_data(domain, N, dcpt.PROOF_DOMAIN_TOKENS, general)}


def choices_table(found: dict[str, Choice]) -> str:
  return table_of(
      ['usage', 'r', '90 % interval', 'D', 'domain loss', 'general loss', 'limit'],
      [[usage, f'{c.inputs["r"]:.3f}', _interval(c), f'{c.inputs["D"]:,.0f}',
        f'{c.losses["domain"]["loss"]:.4f}', f'{c.losses["general"]["loss"]:.4f}',
        f'{c.limit:.4f}' if c.limit else ''] for usage, c in found.items()])


def proof_rows(table: pd.DataFrame, study: Study, usage: str, choice: Choice) -> pd.DataFrame:
  """At every ratio of the proof: mean and standard deviation over seeds of both losses, what the
  law predicts, and whether the ratio is the chosen one."""
  runs = Study(table, study.domain, f'dcpt-{usage}').final
  found = runs.groupby(f'r/{study.domain}').agg(
      D=('D', 'mean'), **{f'{kind}_{stat}': (f'loss/{corpus}', stat)
                          for kind, corpus in zip(('domain', 'general'), study.sides)
                          for stat in ('mean', 'std')}).reset_index(names='r')
  for kind, corpus in zip(('domain', 'general'), study.sides):
    own = found['r'] if kind == 'domain' else 1 - found['r']
    found[f'{kind}_law'] = study.fit(corpus).predict({
        'N': np.full(len(found), choice.inputs['N']), 'D': found['D'].to_numpy(float),
        'r': own.to_numpy(float)})
    found[f'{kind}_error'] = found[f'{kind}_law'] / found[f'{kind}_mean'] - 1
  apart = (found['r'] - choice.inputs['r']).abs()
  found['chosen'] = apart == apart.min()
  return found


def proof_table(rows: pd.DataFrame) -> str:
  lines = []
  for row in rows.to_dict('records'):
    cells = [f'**{row["r"]:.3g}**' if row['chosen'] else f'{row["r"]:.3g}', f'{row["D"]:,.0f}']
    for kind in ('domain', 'general'):
      spread = row[f'{kind}_std']
      cells += [f'{row[f"{kind}_law"]:.4f}',
                f'{row[f"{kind}_mean"]:.4f}' + (f' ± {spread:.4f}' if spread == spread else ''),
                f'{100 * row[f"{kind}_error"]:+.2f} %']
    lines.append(cells)
  return table_of(['r', 'D', 'domain, predicted', 'measured', 'error', 'general, predicted',
                   'measured', 'error'], lines)


def measured(table: pd.DataFrame, usage: str, domain: str) -> list[float]:
  """The best ratio by the runs alone, of each seed.

  trade_off: where the general loss, linear between the ratios trained, first passes 1 + MAX_RISE
  times that at r = 0. limited: the lowest point of the parabola through the best ratio and its two
  neighbours, or the end of the ratios where the best is.
  """
  best = []
  for _, rows in Study(table, domain, f'dcpt-{usage}').final.groupby('seed'):
    rows = rows.sort_values(f'r/{domain}')
    r, loss = rows[f'r/{domain}'].to_numpy(float), rows[f'loss/{domain}'].to_numpy(float)
    if usage == 'trade_off':
      general = rows[f'loss/{GENERAL}'].to_numpy(float)
      best.append(reaches(r, general, (1 + MAX_RISE) * general[0]))
      continue
    at = int(np.argmin(loss))
    if 0 < at < len(r) - 1:
      a, b, _ = np.polyfit(r[at - 1:at + 2], loss[at - 1:at + 2], 2)
      best.append(float(-b / (2 * a)))
    else:
      best.append(float(r[at]))
  return best


def said(table: pd.DataFrame, study: Study, usage: str, choice: Choice, rows: pd.DataFrame) -> str:
  """Where the optimum is by the runs, beside what the law says."""
  best = measured(table, usage, study.domain)
  each = ', '.join(f'{r:.3f}' for r in best)
  spread = f' ± {np.std(best, ddof=1):.3f}' if len(best) > 1 else ''
  low, high = choice.intervals.get('r', (choice.inputs['r'],) * 2)
  inside = 'inside' if low <= np.mean(best) <= high else 'outside'
  lines = [f'By the runs alone the best ratio is {np.mean(best):.3f}{spread} (seeds: {each}); the '
           f'law says {choice.inputs["r"]:.3f}, from {low:.3f} to {high:.3f}: the mean of the runs '
           f'is {inside} that.']
  chosen = rows[rows['chosen']].iloc[0]
  if usage == 'trade_off':
    rise = chosen['general_mean'] / rows['general_mean'][rows['r'] == 0].iloc[0] - 1
    lines.append(f'At the ratio of the law the general loss is {percent(rise)} above that at '
                 f'r = 0, of {percent(MAX_RISE)} allowed.')
  else:
    order = rows.sort_values('domain_mean')
    lines.append('The ratio of the law costs '
                 f'{chosen["domain_mean"] - order["domain_mean"].iloc[0]:.4f} more than the best.')
    gap, noise = order['domain_mean'].iloc[1] - order['domain_mean'].iloc[0], rows['domain_std']
    lines.append(f'The ratio of least mean loss, {order["r"].iloc[0]:.3g}, is {gap:.4f} below the '
                 f'next, {order["r"].iloc[1]:.3g}; a seed is off by {noise.mean():.4f}.')
    if rows['r'].max() == 1 and chosen['r'] == 1:
      lines.append('The law puts the optimum at the end, r = 1: nothing above it can be trained, '
                   'so all neighbours are below.')
  return ' '.join(lines)


def checks(proofs: dict[str, pd.DataFrame], domain: str) -> list[list[str]]:
  """Rows of the table of checks: the predicted losses at the chosen ratios."""
  found = []
  for usage, rows in proofs.items():
    chosen = rows[rows['chosen']].iloc[0]
    for kind, corpus in (('domain', domain), ('general', GENERAL)):
      error = abs(float(chosen[f'{kind}_error']))
      name = f'predicted loss, {usage}, r = {chosen["r"]:.3g}'
      found.append([name, domain, corpus, '<= 2 %', percent(error), verdict(error <= 0.02)])
  return found


def verdict(kept: bool) -> str:
  return 'yes' if kept else '**no**'


def _interval(choice: Choice) -> str:
  ends = choice.intervals.get('r')
  return '{:.3f} to {:.3f}'.format(*ends) if ends else ''


@drawing.styled
def picture(table: pd.DataFrame, study: Study, found: dict[str, Choice]) -> Any:
  """Both losses against r: the law, the runs of the proof with their seeds, the choice."""
  figure, panels = drawing.panels(3, height=3.6)
  where = (('trade_off', 'domain'), ('trade_off', 'general'), ('limited', 'domain'))
  for axes, (usage, kind) in zip(panels, where, strict=True):
    corpus = study.domain if kind == 'domain' else GENERAL
    choice, r = found[usage], np.linspace(0.0 if usage == 'trade_off' else 0.1, 1.0, 161)
    D = (np.full_like(r, choice.inputs['D']) if usage == 'trade_off'
         else dcpt.PROOF_DOMAIN_TOKENS / r)
    axes.plot(r, study.fit(corpus).predict({
        'N': np.full_like(r, choice.inputs['N']), 'D': D, 'r': r if kind == 'domain' else 1 - r}),
        color=drawing.INK, lw=1.3, label='law')
    runs = Study(table, study.domain, f'dcpt-{usage}').final
    if len(runs):
      axes.plot(runs[f'r/{study.domain}'], runs[f'loss/{corpus}'], 'o', ms=3.5, mfc='none',
                label='runs, three seeds')
    if usage == 'trade_off':
      grid = study.final[(study.final['N'] == choice.inputs['N'])
                         & (study.final['D'] == choice.inputs['D'])]
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
