"""The command `python -m analysis.mixture`: flags, the table it prints, its picture.

  python -m analysis.mixture --fit=domain.json --general=general.json --N=1.8e9 --D=1e10 \\
      --max_general_rise=0.03 [--general_loss=2.86]
  python -m analysis.mixture --fit=domain.json --N=1.8e9 --domain_tokens=5e9
  python -m analysis.mixture --fit=domain.json --flops=1e21 --r=0.5
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags

from analysis import mixture
from analysis.fit import Fit
from analysis.mixture import Choice
from scaling import cli, files
from scaling.errors import InputError

FLAGS = flags.FLAGS
USAGES = {'max_general_rise': ('N', 'D', 'general'), 'domain_tokens': ('N',), 'flops': ('r',)}
OPTIONAL = {'max_general_rise': ('general_loss',), 'domain_tokens': ('general',), 'flops': ()}


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('fit', None, "The fit.json of a domain's loss; r is the domain's share.")
  flags.DEFINE_string('general', None, 'The fit.json of the general loss; r is the general share.')
  flags.DEFINE_float('N', None, 'Parameters.', short_name=None)
  flags.DEFINE_float('D', None, 'Training tokens.')
  flags.DEFINE_float('max_general_rise', None,
                     'The rise of the general loss that is tolerated, as a share of it (0.03).')
  flags.DEFINE_float('general_loss', None, 'What it rises from (default: predicted at r_g = 1).')
  flags.DEFINE_float('domain_tokens', None, 'The tokens of the domain that there are.')
  flags.DEFINE_float('flops', None, 'A budget C = 6 N D to divide between N and D.')
  flags.DEFINE_float('r', None, "The domain's share of the mixture, for --flops.")
  flags.DEFINE_boolean('json', False, 'Print JSON.')
  flags.DEFINE_string('out', None, 'Where to write the JSON.')
  flags.DEFINE_string('plot', None, 'Where to draw the losses against r (.svg, .png or .pdf).')
  cli.run(main, need=('fit',))


def main(argv: list[str]) -> None:
  del argv
  usage = _usage()
  cli.check_output(FLAGS.out)
  cli.check_output(FLAGS.plot, '--plot', ('.svg', '.png', '.pdf'))
  domain = Fit.load(FLAGS.fit)
  general = Fit.load(FLAGS.general) if FLAGS.general else None
  of = _of(domain)
  if general is not None and of is not None and of == _of(general):
    raise InputError(f'--general: {FLAGS.general} is a fit of the loss of {of[1]}, as --fit is')
  if usage == 'max_general_rise':
    assert general is not None
    found = mixture.trade_off(domain, general, FLAGS.N, FLAGS.D, FLAGS.max_general_rise,
                              FLAGS.general_loss)
  elif usage == 'domain_tokens':
    found = mixture.limited_domain_data(domain, FLAGS.N, FLAGS.domain_tokens, general)
  else:
    found = mixture.allocation(domain, FLAGS.flops, FLAGS.r)
  answer = found.to_dict() | {'fit': FLAGS.fit, 'general': FLAGS.general}
  if FLAGS.out:
    files.replace(FLAGS.out, files.to_json(answer) + '\n')
  if FLAGS.plot:
    from analysis.pictures import drawing  # matplotlib takes a second to load
    from analysis.pictures import mixture as mixture_plot
    drawing.save(mixture_plot.draw(found, domain, general), FLAGS.plot)
  print(json.dumps(answer) if FLAGS.json else text(found))


def _of(fit: Fit) -> tuple[str, str] | None:
  """The workdir and the domain whose loss was fitted, where that is known."""
  data = fit.extra.get('data') or {}
  return (data['source'], data['domain']) if data.get('domain') else None


def text(found: Choice) -> str:
  """The answer in a few lines."""
  percent = f'{100 * found.level:g} %'
  lines = []
  for name, value in found.inputs.items():
    ends = found.intervals.get(name)
    lines.append(f'{name:13} {value:.4g}' + (f'   {percent} [{ends[0]:.4g}, {ends[1]:.4g}]'
                                            if ends else ''))
  for name, loss in found.losses.items():
    lines.append(f'{name} loss'.ljust(14) + f'{loss["loss"]:.4f}'
                 + (f'   limit {found.limit:.4f}' if name == 'general' and found.limit else ''))
    for kind, what in (('prediction', 'for a new run'), ('confidence', 'for the law itself')):
      if kind in loss:
        lines.append(f'{"":14}{percent} [{loss[kind][0]:.4f}, {loss[kind][1]:.4f}] {what}')
  return '\n'.join([*lines, *(f'warning: {w}' for w in found.warnings)])


def _usage() -> str:
  """Which of the three questions the flags ask. InputError unless it is exactly one of them."""
  asked = [name for name in USAGES if FLAGS[name].value is not None]
  if len(asked) != 1:
    raise InputError('give one of --max_general_rise (with --N --D --general), --domain_tokens '
                     '(with --N) and --flops (with --r)')
  usage = asked[0]
  missing = [name for name in USAGES[usage] if FLAGS[name].value is None]
  if missing:
    raise InputError(f'--{missing[0]} is missing: --{usage} goes with '
                     + ', '.join(f'--{n}' for n in USAGES[usage]))
  known: tuple[Any, ...] = (*USAGES[usage], *OPTIONAL[usage])
  for name in ('N', 'D', 'general', 'general_loss', 'r'):
    if FLAGS[name].value is not None and name not in known:
      raise InputError(f'--{name} does not go with --{usage}')
  return usage
