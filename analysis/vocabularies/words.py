"""What the vocabulary command prints: a study, its predictions, and the paper's own approaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.laws import vocabulary as law
from analysis.vocabularies import parting
from analysis.vocabularies.approaches import NAMES
from analysis.vocabularies.runs import Scale

MET = {True: 'met', False: 'NOT met', None: 'cannot be said'}


def of_study(answer: Mapping[str, Any], metric: str) -> str:
  """fit.json of a study under one metric, and where the two metrics part."""
  scale, one = Scale.of_dict(answer['scale']), answer['metrics'][metric]
  a, b, c = scale.compression
  low, high = scale.ranges['V']
  lines = [
      f'{metric}: {answer["n_rows"]} rows of {answer["n_groups"]} lineages, {len(scale.sizes)} '
      f'sizes, V from {low:g} to {high:g}',
      f'f(V) = {a:.6g} ln(V)^2 {b:+.6g} ln(V) {c:+.6g} tokens a character, off by at most '
      f'{100 * answer["compression_error"]:.2g} %, by {scale.measured}', answer['untied'], '']
  for name in NAMES[:2]:
    if name in one['approaches']:
      p = one['approaches'][name]['params']
      lines.append(f'{name:11} N_v = {_e(p["k"])} C^{p["a"]:.4f} N_nv^{p["g"]:.4f}; along C ~ '
                   f'N_nv^2: N_v ~ C^{p["a"] + p["g"] / 2:.4f}')
  roots = one['derivative']
  if 'gamma' in roots:
    lines.append(f'{"":11} gamma {roots["gamma"]:.4f} by f alone, dC/dV = 0 at V '
                 + ', '.join(f'{v:.0f}' for v in roots['V'])
                 + (f'; anchored at N_nv {roots["anchor_N_nv"]:.4g}' if 'anchor_N_nv' in roots
                    else f'; {roots["why"]}'))
  fitted = one['parametric']
  lines.append(f'parametric  {fitted["formula"]}'
               + ''.join(f', {x} = {y}' for x, y in fitted['tied'].items()))
  lines.append(f'{"":11} R2 of the forms: '
               + ', '.join(f'{k} {v:.4f}' for k, v in fitted['r2_of_forms'].items())
               + f'; taken: {fitted["form"]}')
  for name, value in fitted['params'].items():
    ends = fitted['intervals'].get(name)
    lines.append(f'{"":11} {name:7}{value:12.6g}'
                 + (f'  [{ends[0]:.4g}, {ends[1]:.4g}]' if ends else ''))
  for title, part in (('optimal vocabulary against compute, along C = '
                       f'{_e(scale.ln_k)} N_nv^2', 'against_compute'),
                      ('and against N_nv, at budgets of each size', 'against_size')):
    lines += ['', f'{title} (* outside those tried)', *of_rows(one[part], answer['level'])]
  lines += ['', parting_table(answer['parting']), parting.said(answer['parting']), '']
  lines += [f'check: {c["name"]} {c["value"]}, wanted {c["wanted"]}: {MET[c["met"]]}'
            for c in one['checks']]
  return '\n'.join([*lines, *(f'warning: {w}' for w in one['warnings'])])


def of_predictions(found: Mapping[str, Any], level: float) -> str:
  """The rows of `saved.predict`."""
  said = []
  for row in found['rows']:
    if row.get('text_V'):
      said.append(f'N_nv {row["N_nv"]:.4g}: least loss on {row["H"]:.4g} characters whatever it '
                  f'costs at V {row["text_V"]:.0f}, by the law')
    if row.get('proof'):
      said.append(f'N_nv {row["N_nv"]:.4g}: these FLOPs are ' + ', '.join(
          f'{H:.4g} characters at V {V}' for V, H in row['proof'].items()))
  return '\n'.join([f'best vocabulary by {found["metric"]} (* outside those tried)',
                    *of_rows(found['rows'], level), *said,
                    *(f'warning: {w}' for w in found['warnings'])])


def of_rows(rows: Sequence[Mapping[str, Any]], level: float) -> list[str]:
  """A table as lines: N_nv, C, d, V by each approach with its interval."""
  text = 'H' in rows[0]
  lines = [f'{"N_nv":>10}{"H" if text else "C":>11}{"d":>7}   '
           + ''.join(f'{name:28}' for name in NAMES) + f'({100 * level:g} %)']
  for row in rows:
    line = f'{row["N_nv"]:10.4g}{row["H" if text else "C"]:11.4g}{row["d"]:7.4g}   '
    lines.append((line + ''.join(f'{cell(row.get(name)):28}' for name in NAMES)).rstrip())
  return lines


def cell(one: Mapping[str, Any] | None) -> str:
  """'1240* [1100, 1390]': V, whether it lies outside those tried, its interval."""
  if one is None or one['V'] is None:
    return 'none'
  ends = one['interval']
  said = '' if ends is None else ' [' + ', '.join(
      'open' if e is None else f'{e:.0f}' for e in ends) + ']'
  return f'{one["V"]:.0f}{"" if one["tried"] else "*"}{said}'


def parting_table(found: Mapping[str, Any]) -> str:
  """The decomposition of bits per byte as lines."""
  lines = [f'bits per byte = t (L_u + H_u) / ln 2 at N_nv {found["N_nv"]:.4g}, {found["at"]}',
           f'{"V":>8}{"L_u":>9}{"H_u":>9}{"loss":>9}{"t":>9}{"bits":>9}{"unigram":>10}{"gain":>9}']
  five = ('loss_unigram', 'unigram', 'loss', 'tokens_per_byte', 'bits_per_byte')
  return '\n'.join([*lines, *(
      f'{row["V"]:8.0f}' + ''.join(f'{row[k]:9.4f}' for k in five)
      + f'{row["unigram_bits"]:10.4f}{row["gain_bits"]:9.4f}' for row in found['rows'])])


def _e(log: float) -> str:
  return f'e^{log:.4g}'


def of_paper(answer: dict[str, Any]) -> str:
  """vocabulary.json of `paper.study` in a few lines."""
  percent = f'{100 * answer["level"]:g} %'

  def ends(part: dict[str, Any], name: str) -> str:
    pair = part['intervals'].get(name)
    return f'  {percent} [{pair[0]:.6g}, {pair[1]:.6g}]' if pair else ''

  dropped = answer.get('dropped', {})
  lines = [f'{answer["n_rows"]} rows of {answer["n_runs"]} runs'
           + ''.join(f', {count} dropped ({why})' for why, count in dropped.items()), '']
  if 'approach_1' in answer:
    one = answer['approach_1']
    lines.append(f'approach 1: N_nv = e^K_Nnv C^.5, N_v = e^K_Nv C^exponent, H = e^K_H C^.5, by '
                 f'{one["n_frontier"]} rows of the frontier')
    theirs = one['paper_optimiser']
    lines += [f'  {name:9}{one[name]:13.9g}{ends(one, name)}   by the paper\'s optimiser '
              f'{theirs[name]:.9g}' for name in ('K_Nnv', 'K_Nv', 'exponent', 'K_H')]
  if 'approach_2' in answer:
    two = answer['approach_2']
    lines += [f'approach 2: gamma {two["gamma"]:.7g}   by the paper\'s optimiser '
              f'{two["paper_optimiser"]["gamma"]:.7g}',
              '  dC/dV = 0 at V = ' + ', '.join(f'{int(v)}' for v in two['V']),
              f'  anchor N_nv {two["anchor"]["N_nv"]:.4g}, V {two["anchor"]["V"]:g} at '
              f'{two["anchor"]["C"]:.3g} FLOPs, N_v {two["anchor"]["N_v"]:.6g}'
              f'{ends(two, "anchor_N_v")}']
  for part in ('approach_3', 'approach_3_official'):
    if part not in answer:
      continue
    three = answer[part]
    lines += [f'approach 3: {law.LAW.formula}, {three["n_rows"]} rows, tokens {three["mode"]}',
              f'  {"":8}{"ours":>13}{"paper units":>13}{"published":>13}']
    for name, value in three['params'].items():
      lines.append(f'  {name:8}{value:13.6g}{three["params_in_paper_units"][name]:13.6g}'
                   f'{law.APPROACH_3[name]:13.6g}{ends(three, name)}')
    for name, part in (('ours', three), ('published', three['published'])):
      lines.append(f'  {name}: objective {part["objective"]:.7g}, r2 {part["metrics"]["r2"]:.5f}')
  for title in ('predictions', 'published_predictions'):
    if title in answer:
      lines += ['', f'{title.replace("_", " ")}: the best V by approach 1, 2, 3']
      for row in answer[title]:
        cost = f', C {row["C"]:.4g}' if 'C' in row else ''
        lines.append(f'  N_nv {row["N_nv"]:.4g}, d {row["d"]:g}{cost}: '
                     + ', '.join(f'{row[v]:.0f}' + (ends(row, v) if 'intervals' in row else '')
                                 for v in ('V_1', 'V_2', 'V_3', 'V_3_official') if v in row)
                     + (f'; N_v {row["V_1"] * row["d"] / 1e9:.3f}B by 1' if 'V_1' in row else ''))
  lines += [f'warning: {w}' for w in answer['warnings']]
  return '\n'.join(lines)
