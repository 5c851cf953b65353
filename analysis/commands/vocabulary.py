"""The command `python -m analysis.vocabulary`: flags, and which of its three ways they ask for.

  python -m analysis.vocabulary --logs=DIR --study=vocabulary --domain=python_docs
      --metric=loss_unigram|bits_per_byte --out=fit.json --plot=vocabulary.png
  python -m analysis.vocabulary --fit=fit.json --params=3e9 [--flops=1e21 | --characters=4e11]
  python -m analysis.vocabulary --data=runs.csv --columns=N_nv=params,V=vocab_size,... [--paper]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags

from analysis import logs
from analysis.commands import fit as fit_command
from analysis.commands.options import check_intervals, check_positive
from analysis.laws import vocabulary as law
from analysis.reading import points, tables
from analysis.vocabularies import compression, optima, paper, runs, saved, sizes, study, words
from analysis.vocabularies.approaches import LAWS
from scaling import cli, files
from scaling.errors import InputError, bad

FLAGS = flags.FLAGS
WAYS = {  # the flags that go with each; --out, --params and --flops with all
    'logs': ('study', 'domain', 'rows', 'group', 'where', 'metric', 'form', 'tie', 'bootstrap',
             'level', 'plot', 'characters', 'd', 'compression'),
    'fit': ('metric', 'characters', 'd', 'plot'),
    'data': ('columns', 'where', 'approach', 'tokens_from_chars_mode', 'min_flops', 'anchor_flops',
             'sizes', 'tie', 'bootstrap', 'level', 'paper')}


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('logs', None, 'A workdir of scaling.sweep, to fit its vocabulary study.')
  flags.DEFINE_string('study', None, 'Only the runs of this study of the workdir.')
  flags.DEFINE_string('domain', None, 'Whose losses, when the workdir has several.')
  flags.DEFINE_string('compression', None, "prepare's compression JSON of these tokenizers, for "
                      "f(V) (default: that of WORKDIR/tokens if there, else the runs' D / H).")
  flags.DEFINE_enum('rows', 'final', ['final', 'all'], 'The last evaluation of each run, or all of '
                    'the longest run of each size and vocabulary.')
  flags.DEFINE_enum('group', 'lineage', ['lineage', 'trunk'], 'What is resampled for intervals.')
  flags.DEFINE_enum('metric', 'loss_unigram', list(runs.METRICS), 'Which loss to print and draw; '
                    'both are fitted.')
  flags.DEFINE_enum('form', 'auto', list(study.FORMS), "Of approach 3's law: the paper's, or with "
                    'fewer effective tokens for a larger vocabulary; auto: the first if its R2 is '
                    '.97.')
  flags.DEFINE_string('fit', None, 'A fit.json of --logs, to predict from.')
  flags.DEFINE_string('data', None, 'A table of runs, a row an evaluation, for the approaches as '
                      'the paper does them.')
  flags.DEFINE_string('columns', '', 'N_nv, V, loss_unigram, H or D, and d, C, as name=expression.')
  flags.DEFINE_string('where', '', 'A condition on the rows.')
  flags.DEFINE_boolean('paper', False, "The columns, thresholds and models of the paper's own "
                       'runs.csv, and both modes of its tokens.')
  flags.DEFINE_enum('approach', 'all', ['1', '2', '3', 'all'], 'Which approach.')
  flags.DEFINE_enum('tokens_from_chars_mode', 'correct', [*law.MODES, paper.BOTH], 'Tokens of '
                    'approach 3: H f(V), or H f(V / 1000) as the published coefficients need.')
  flags.DEFINE_list('params', [], 'N_nv of models to predict the vocabulary of.')
  flags.DEFINE_list('flops', [], 'Their budgets in FLOPs.')
  flags.DEFINE_list('characters', [], 'Or in characters of training text.')
  flags.DEFINE_list('d', [], "Their widths (default: by the trend of the study's).")
  flags.DEFINE_float('min_flops', 0.0, 'Approach 3 leaves out cheaper rows (the paper: 2.18e17).')
  flags.DEFINE_float('anchor_flops', None, 'Where approach 2 compares the smallest models '
                     '(the paper: 2.7e17; default: the most that all of them reach).')
  flags.DEFINE_list('sizes', [f'{n:g}' for n in sizes.SIZES], 'N_nv at which approach 2 solves '
                    'dC/dV = 0.')
  flags.DEFINE_string('tie', 'alpha1=beta', 'Parameters of approach 3 that are equal; empty: none.')
  flags.DEFINE_integer('bootstrap', 200, 'Resamplings of runs for the intervals; 0: none.')
  flags.DEFINE_float('level', 0.9, 'Of the intervals.')
  flags.DEFINE_string('out', None, 'Where to write the JSON.')
  flags.DEFINE_string('plot', None, 'Where to draw the best vocabulary (.svg, .png or .pdf).')
  cli.run(main)


def main(argv: list[str]) -> None:
  del argv
  given = [way for way in WAYS if FLAGS[way].value is not None]
  if len(given) != 1:
    raise InputError('give one of --logs=WORKDIR, --fit=fit.json and --data=FILE')
  for name in sorted({n for names in WAYS.values() for n in names} - set(WAYS[given[0]])):
    if FLAGS[name].present:
      raise InputError(f'--{name} does not go with --{given[0]}')
  cli.check_output(FLAGS.out)
  cli.check_output(FLAGS.plot, '--plot', ('.svg', '.png', '.pdf'))
  check_intervals(FLAGS.bootstrap, FLAGS.level)
  check_positive('anchor_flops', FLAGS.anchor_flops)
  if not 0 <= FLAGS.min_flops < np.inf:
    raise bad('--min_flops', FLAGS.min_flops, 'it must be >= 0 and finite')
  answer = {'logs': _of_logs, 'fit': _of_fit, 'data': _of_data}[given[0]]()
  if FLAGS.plot:
    from analysis.pictures import drawing  # matplotlib takes a second to load
    from analysis.pictures import vocabulary as picture
    values = answer if given[0] == 'logs' else saved.load(FLAGS.fit)
    drawing.save(picture.draw(values, FLAGS.metric), FLAGS.plot)
  if FLAGS.out:
    files.replace(FLAGS.out, files.to_json(answer) + '\n')
    print(f'\nwritten to {FLAGS.out}')


def _of_logs() -> dict[str, Any]:
  asked = [_numbers(name) for name in ('params', 'flops', 'characters', 'd')]
  _need_params(asked)
  tied = {k: v for metric in runs.METRICS
          for k, v in fit_command.restricted(LAWS['paper'][metric], '', FLAGS.tie).tied}
  table = logs.load(FLAGS.logs, FLAGS.study)
  domain = points.chosen_domain(table, FLAGS.domain, FLAGS.logs)
  chosen = tables.select(table, FLAGS.where)
  f = (compression.read(FLAGS.compression) if FLAGS.compression is not None
       else compression.found(FLAGS.logs, domain))
  answer = study.of(runs.of_table(chosen, domain, FLAGS.rows, FLAGS.group, FLAGS.logs, f),
                    tied=tied, bootstrap=FLAGS.bootstrap, level=FLAGS.level, form=FLAGS.form)
  answer |= {'command': fit_command.command('analysis.vocabulary'),
             'code_version': fit_command.code_version(),
             'data': {'source': FLAGS.logs, 'sha256': logs.fingerprint(chosen),
                      'study': FLAGS.study, 'domain': domain, 'rows': FLAGS.rows,
                      'where': FLAGS.where or None}}
  print(words.of_study(answer, FLAGS.metric))
  if len(asked[0]):
    answer['predictions'] = saved.predict(answer, FLAGS.metric, *asked)
    print('\n' + words.of_predictions(answer['predictions'], FLAGS.level))
  return answer


def _of_fit() -> dict[str, Any]:
  asked = [_numbers(name) for name in ('params', 'flops', 'characters', 'd')]
  _need_params(asked)
  if not len(asked[0]) and not FLAGS.plot:
    raise InputError('--params is missing: N_nv of the models to predict the vocabulary of')
  values = saved.load(FLAGS.fit)
  saved.known(values, FLAGS.metric)
  if not len(asked[0]):
    return {}
  found = saved.predict(values, FLAGS.metric, *asked)
  print(words.of_predictions(found, values['level']))
  return found | {'fit': FLAGS.fit, 'command': fit_command.command('analysis.vocabulary')}


def _need_params(asked: list[np.ndarray]) -> None:
  for name, values in zip(('flops', 'characters', 'd'), asked[1:]):
    if len(values) and not len(asked[0]):
      raise InputError(f'--{name}: it goes with --params')


def _of_data() -> dict[str, Any]:
  own = FLAGS.paper
  columns = FLAGS.columns or (paper.COLUMNS if own else '')
  expressions = tables.columns(columns)
  whole = tables.read(FLAGS.data)
  table = tables.select(whole, FLAGS.where, expressions)
  rows, dropped = optima.rows_of(FLAGS.data, table, expressions)
  if len(table) < len(whole):
    dropped = {'not chosen by --where': len(whole) - len(table)} | dropped
  params, flops = _numbers('params'), _numbers('flops')
  if own and not len(params):
    params = np.array(paper.PARAMS)
  if len(flops) and len(flops) not in (1, len(params)):
    raise bad('--flops', FLAGS.flops, 'give one budget, or one for each of --params')

  def of(flag: str, papers: Any) -> Any:
    return papers if own and not FLAGS[flag].present else FLAGS[flag].value

  answer = paper.study(
      rows, FLAGS.approach, of('tokens_from_chars_mode', paper.BOTH), params,
      flops if len(flops) else None, min_flops=of('min_flops', paper.MIN_FLOPS),
      anchor_flops=of('anchor_flops', paper.ANCHOR_FLOPS), roots_at=_numbers('sizes'),
      tied=fit_command.restricted(law.LAW, '', FLAGS.tie), bootstrap=FLAGS.bootstrap,
      level=FLAGS.level)
  answer['warnings'] = tables.notes(table, expressions.values()) + answer['warnings']
  answer |= {'dropped': dropped, 'command': fit_command.command('analysis.vocabulary'),
             'code_version': fit_command.code_version(),
             'data': {'source': FLAGS.data, 'sha256': tables.sha256(FLAGS.data),
                      'where': FLAGS.where or None}}
  print(words.of_paper(answer))
  return answer


def _numbers(flag: str) -> np.ndarray:
  texts: list[str] = FLAGS[flag].value or []
  try:
    found = np.array([float(t) for t in texts])
  except ValueError:
    raise bad(f'--{flag}', ','.join(texts), 'they must be numbers') from None
  if not np.all(np.isfinite(found) & (found > 0)):
    raise bad(f'--{flag}', ','.join(texts), 'they must be positive')
  return found
