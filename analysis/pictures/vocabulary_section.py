"""The section of a report about a vocabulary study: both metrics, and where they part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.pictures import page, vocabulary
from analysis.pictures.drawing import Picture
from analysis.pictures.labels import number, output
from analysis.vocabularies import parting, words
from analysis.vocabularies.approaches import NAMES

CAPTION = ('Along C = const N_nv^2 by the three approaches with their intervals, inside the sizes '
           'and budgets trained; dotted lines are the smallest and largest vocabulary tried. Stars '
           'are minima at equal compute that have a vocabulary on either side.')


def pictures(values: Mapping[str, Any]) -> list[Picture]:
  """One picture a metric."""
  return [Picture(f'vocabulary_{metric}', f'Best vocabulary by {output(metric)}', CAPTION,
                  vocabulary.draw(values, metric)) for metric in values['metrics']]


def of_study(values: Mapping[str, Any], drawn: list[Picture]) -> str:
  """The section; drawn: its pictures."""
  domain = (values.get('data') or {}).get('domain')
  body = [f'<section><h2>Vocabulary{": " + page.text(domain) if domain else ""}</h2>',
          page.note(values['untied'] + '.'), '<h3>Where the metrics part</h3>',
          page.note(parting.said(values['parting']) + '.'),
          page.table(['V', 'L_u', 'H_u', 'loss', 'tokens per byte', 'bits per byte',
                      'unigram code, bits', 'gain on it, bits'], _parting(values['parting'])),
          page.note('bits per byte = t (L_u + H_u) / ln 2: t tokens per byte, H_u the unigram '
                    'model\'s cross-entropy, both of them moved by V alone.')]
  for (metric, one), picture in zip(values['metrics'].items(), drawn):
    body.append(f'<h3>{page.text(output(metric))}</h3>')
    body.append(page.table(['N_nv', 'FLOPs', 'width', *NAMES], [
        [number(row['N_nv']), f'{row["C"]:.3g}', f'{row["d"]:.3g}',
         *(words.cell(row.get(name)) for name in NAMES)] for row in one['against_compute']]))
    body.append(page.note(f'Best V and its {100 * values["level"]:g} % interval; * outside the '
                          'vocabularies tried, no confident number.'))
    body.append(page.facts([(c['name'], f'{c["value"]}, wanted {c["wanted"]}: '
                                        f'{words.MET[c["met"]]}') for c in one['checks']]))
    if one['warnings']:
      body.append(page.items('Warnings', one['warnings'], 'warnings'))
    body.append(page.picture(picture))
  return '\n'.join(body) + '</section>'


def _parting(found: Mapping[str, Any]) -> list[list[str]]:
  seven = ('loss_unigram', 'unigram', 'loss', 'tokens_per_byte', 'bits_per_byte', 'unigram_bits',
           'gain_bits')
  return [[f'{row["V"]:.0f}', *(f'{row[k]:.4f}' for k in seven)] for row in found['rows']]
