"""One self-contained HTML file about a fit, the runs behind it, or both; pictures also as files.

  python -m analysis.report --logs=DIR --out=report.html            fits chinchilla to every domain
  python -m analysis.report --logs=DIR --fit=fit.json --out=report.html
  python -m analysis.report --fit=fit.json --out=report.html        a fit from a CSV file
  python -m analysis.report --fit=fit.json --plots=DIR --formats=png,pdf

Runs at several vocabularies make a vocabulary study: both its metrics, and where they part. A fit
of one (analysis.vocabulary) is a --fit like others.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from absl import flags

from analysis import fit, laws, logs, plots
from analysis.commands import fit as fit_command
from analysis.fit import Fit
from analysis.pictures import (
  budgets,
  costs,
  drawing,
  page,
  profiles,
  sections,
  slices,
  vocabulary_section,
)
from analysis.pictures.drawing import Picture
from analysis.pictures.profiles import Marks
from analysis.reading import points
from analysis.vocabularies import compression, runs, saved, study
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_list('domain', [], 'Only these domains of the workdir (default: all).')
  flags.DEFINE_multi_string('fit', [], 'A fit.json of analysis.fit; may be given several times.')
  flags.DEFINE_multi_string('mark', [], "Parameters to mark in the pictures, such as 'Hoffmann: "
                            "A=406.4, B=410.7'; may be given several times.")
  flags.DEFINE_string('out', 'report.html', 'Where to write the report.')
  flags.DEFINE_string('plots', None, 'A folder to write every picture to, as files of their own.')
  flags.DEFINE_list('formats', ['png', 'pdf'], f'Of --plots: {", ".join(drawing.FORMATS)}.')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  if FLAGS.logs is None and not FLAGS.fit:
    raise InputError('give --logs=WORKDIR, --fit=fit.json or both')
  cli.check_output(FLAGS.out)
  for kind in FLAGS.formats:
    if kind not in drawing.FORMATS:
      raise bad('--formats', kind, ', '.join(drawing.FORMATS))
  marks = dict(_mark(text) for text in FLAGS.mark)
  table = logs.load(FLAGS.logs, FLAGS.study) if FLAGS.logs is not None else None
  domains = _domains(table, FLAGS.domain)
  studies = [saved.load(path) for path in FLAGS.fit if saved.is_one(path)]
  fits = [Fit.load(path) for path in FLAGS.fit if not saved.is_one(path)]
  notes: list[str] = []
  if table is not None and not studies and runs.is_study(table):
    studies, notes = _studies(table, domains, FLAGS.logs, FLAGS.study)
  elif not fits and not studies:
    fits, notes = _fits(FLAGS.logs, FLAGS.study, domains)
  command = shlex.join(['python', '-m', 'analysis.report', *sys.argv[1:]])
  drawn: list[tuple[str, Picture]] = []
  files.replace(FLAGS.out, report(fits, table, command, notes, FLAGS.logs, domains, marks, drawn,
                                 studies))
  print(f'written to {FLAGS.out}')
  if FLAGS.plots:
    for prefix, picture in drawn:
      name = re.sub(r'[^A-Za-z0-9._-]+', '_', prefix + picture.name)
      drawing.write(picture.figure, FLAGS.plots, name, FLAGS.formats)
    print(f'{len(drawn)} pictures in {os.path.join(FLAGS.plots, "")} as {", ".join(FLAGS.formats)}')


def report(fits: Sequence[Fit], table: pd.DataFrame | None, command: str,
           notes: Sequence[str] = (), workdir: str | None = None,
           domains: Sequence[str] | None = None, marks: Marks | None = None,
           drawn: list[tuple[str, Picture]] | None = None,
           studies: Sequence[Mapping[str, Any]] = ()) -> str:
  """The HTML of fits and of a workdir's table (either may be missing).

  studies: fits of vocabulary studies (analysis/vocabularies/study.py).
  marks: {name: parameters} to mark in the pictures. Pictures are added to `drawn`, each with a
  prefix that tells the fits of one report apart.
  """
  drawn = [] if drawn is None else drawn
  source = workdir or next(((f.extra.get('data') or {}).get('source') or '' for f in fits), '')
  parts = [f'<header><h1>Scaling-law report</h1><p>{page.text(source)}</p></header>']
  if notes:
    parts.append(page.items('Not fitted', notes))
  names = [str((f.extra.get('data') or {}).get('domain') or f.law.name) for f in fits]
  if len(set(names)) < len(names):
    names = [f'{i + 1}_{name}' for i, name in enumerate(names)]
  for name, found in zip(names, fits):
    made = list(pictures(found, marks))
    drawn += [(f'{name}_' if len(fits) > 1 else '', p) for p in made]
    parts.append(sections.of_fit(found, made, several=len(fits) > 1))
  for i, values in enumerate(studies):
    made = vocabulary_section.pictures(values)
    drawn += [(f'{i + 1}_' if len(studies) > 1 else '', p) for p in made]
    parts.append(vocabulary_section.of_study(values, made))
  if table is not None:
    shown = logs.domains(table) if domains is None else domains
    made = [plots.loss_curves(table, domain) for domain in shown]
    drawn += [('', p) for p in made]
    parts.append(sections.of_runs(table, shown, made))
    if workdir is not None:
      parts.append(costs.of_workdir(workdir, table))
  parts.append(sections.to_reproduce(fits, command))
  return page.page('Scaling-law report', parts)


def pictures(found: Fit, marks: Marks | None = None) -> Iterator[Picture]:
  """Every picture of a fit that can be made, in the order of the report."""
  yield from slices.slices(found)
  for made in (plots.surface(found), budgets.iso_flops(found), budgets.frontier(found),
               plots.agreement(found), plots.residuals(found),
               profiles.profiles(found, marks or {}), profiles.corner(found, marks or {})):
    if made is not None:
      yield made


def _fits(workdir: str, study: str | None, domains: Sequence[str]) -> tuple[list[Fit], list[str]]:
  """Chinchilla for every domain of a workdir, and why some could not be fitted."""
  found, notes = [], []
  law = laws.get('chinchilla')
  for domain in domains:
    try:
      data = points.of_logs(law, workdir, study, domain, 'final', '', '')
      made = fit.fit(law, data.inputs, data.loss, groups=data.groups, noise_floor=data.noise,
                     extra={'columns': data.columns, 'data': data.data,
                            'code_version': fit_command.code_version()})
      made.warnings.extend(data.notes)
      found.append(fit_command.with_held_out(made, data.held_out) if data.held_out else made)
    except InputError as error:
      notes.append(f'{domain}: {error}')
  return found, notes


def _studies(table: pd.DataFrame, domains: Sequence[str], workdir: str, name: str | None,
             ) -> tuple[list[dict[str, Any]], list[str]]:
  """Fits of the vocabulary study of every domain, and what could not be fitted.

  No law of N and D is fitted to them: losses of different vocabularies are not one quantity.
  """
  found, notes = [], []
  for domain in domains:
    try:
      data = runs.of_table(table, domain, source=workdir, f=compression.found(workdir, domain))
      found.append(study.of(data, bootstrap=100) | {
          'data': {'source': workdir, 'study': name, 'domain': domain}})
    except InputError as error:
      notes.append(f'{domain}: {error}')
  return found, notes


def _domains(table: pd.DataFrame | None, asked: Sequence[str]) -> list[str]:
  if table is None:
    if asked:
      raise InputError(f'--domain={asked[0]}: it goes with --logs')
    return []
  known = logs.domains(table)
  for name in asked:
    if name not in known:
      raise bad('--domain', name, f'the workdir has losses of {", ".join(known) or "none"}')
  return list(asked) or known


def _mark(text: str) -> tuple[str, Mapping[str, float]]:
  """'NAME: A=1, B=2' -> (NAME, {'A': 1.0, 'B': 2.0})."""
  name, colon, rest = text.partition(':')
  try:
    if not colon or not name.strip():
      raise ValueError
    pairs = [part.split('=') for part in rest.split(',')]
    return name.strip(), {key.strip(): float(value) for key, value in pairs}
  except ValueError:
    raise bad('--mark', text, "it is written 'NAME: A=406.4, alpha=.34'") from None


if __name__ == '__main__':
  start()
