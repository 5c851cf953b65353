"""Published numbers of scaling laws, each from one command on the published runs.

  SCALING_REFERENCE_DATA=DIR python benchmarks/published.py [--only=repetition]

Prints, for every number, what was published, what comes out here with its interval where there is
one, the command, and the first words of each warning. Where the published number is not the best
one, or not a stable one, the warnings say so. The data are not ours and not in this repository.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

FOLDER = os.environ.get('SCALING_REFERENCE_DATA', '')


@dataclasses.dataclass(frozen=True)
class Command:
  """A command on the data, and the numbers in its JSON: (what, published, path in the JSON)."""

  topic: str
  arguments: tuple[str, ...]
  numbers: tuple[tuple[str, float, str], ...]


def fit(topic: str, law: str, data: str, *flags: str, numbers: dict[str, tuple[float, str]]
        ) -> Command:
  return Command(topic, ('analysis.fit', f'--law={law}', f'--data={FOLDER}/{data}', *flags),
                 tuple((what, value, path) for what, (value, path) in numbers.items()))


def params(**published: float) -> dict[str, tuple[float, str]]:
  return {name: (value, f'params.{name}') for name, value in published.items()}


HOFFMANN = ('--columns=N=`Model Size`,D=`Training FLOP`/(6*`Model Size`),loss=loss',
            '--where=loss < 3.44', '--level=0.95')
MUENNIGHOFF = '--columns=N=params_N,D=tokens_D,U=unique_tokens_U,loss=val_loss'
# ln A 6.255414, ln B 7.3049974, ln E .6254804, alpha = beta .3526596 as released.
FROZEN = ('E=1.8691436784,A=520.82495166,B=1487.71609378,alpha=.3526596,beta=.3526596')
ROOTS = {'33M': 10322, '85M': 15939, '151M': 24593, '302M': 32776, '631M': 40941, '1.13B': 49416,
         '2.87B': 65928}
PORIAN = (('base', 'long', 'kaplan', 'kaplan'), ('base', 'long', 'kaplan', 'standard'),
          ('base', 'short', 'kaplan', 'standard'), ('base', 'short', 'chinchilla', 'standard'),
          ('tuned', 'short', 'const', 'standard'))


def commands() -> list[Command]:
  found = [
      fit('chinchilla', 'chinchilla', 'chinchilla_epoch/runs.csv', *HOFFMANN, '--bootstrap=4000',
          '--interval=percentile', '--test=E=1.6934,A=406.4,B=410.7,alpha=.3392,beta=.2849',
          numbers={'Huber objective': (0.00101827402, 'objective.value'),
                   'p of the rounded parameters of Hoffmann et al.': (1.7e-49, 'tests.0.p'),
                   **params(A=477.826, B=2143.417, E=1.817218, alpha=.347311, beta=.367172)}),
      fit('chinchilla', 'chinchilla', 'chinchilla_epoch/runs.csv', *HOFFMANN,
          '--objective=lad_log', '--bootstrap=0',
          numbers={'sum of |r|': (1.1294947, 'objective.value'),
                   **params(A=482.006, B=2085.434, E=1.81686, alpha=.34781, beta=.36585)}),
      fit('repetition', 'repetition', 'repeated_epochs/c4_val_loss_fit_182.csv', MUENNIGHOFF,
          f'--fix={FROZEN},R_D_star=15.387756,R_N_star=5.309743',
          numbers={'objective as published': (.015825936570763588, 'objective.value'),
                   'R2 as published': (.7722046, 'metrics.r2')}),
      fit('repetition', 'repetition', 'repeated_epochs/c4_val_loss_fit_182.csv', MUENNIGHOFF,
          f'--fix={FROZEN}',
          numbers={'objective, lower than published': (.01580466, 'objective.value'),
                   **params(R_D_star=95.4, R_N_star=1.71)}),
      fit('repetition', 'chinchilla', 'repeated_epochs/c4_val_loss_fit_182.csv',
          MUENNIGHOFF.replace(',U=unique_tokens_U', ''), f'--fix={FROZEN}',
          numbers={'R2 without decay': (.4451684, 'metrics.r2')}),
      fit('repetition', 'repetition', 'repeated_epochs/c4_val_loss_fit_182.csv', MUENNIGHOFF,
          f'--fix={FROZEN},R_N_star=1e12',
          numbers={'objective, data alone decays': (.0169223, 'objective.value'),
                   **params(R_D_star=2.915)}),
      fit('repetition', 'repetition_geometric', 'repeated_epochs/c4_val_loss_fit_182.csv',
          MUENNIGHOFF, f'--fix={FROZEN}',
          numbers={'objective, geometric': (.0154774354, 'objective.value'),
                   **params(delta_D=.010477, delta_N=.367407)}),
      fit('repetition', 'chinchilla', 'repeated_epochs/c4_val_loss_all_296.csv',
          MUENNIGHOFF.replace(',U=unique_tokens_U', ''), '--where=epochs <= 2.5',
          '--tie=beta=alpha',
          numbers={'objective, tied, 62 rows': (.001218939, 'objective.value'),
                   **params(A=635.18, B=3053.9, E=1.89653, alpha=.35961)}),
      Command('vocabulary', ('analysis.vocabulary', f'--data={FOLDER}/vocabulary/runs.csv',
                             '--columns=N_nv=Non_vocab_parameters,V=vocab_size,d=embed_dim,'
                             'H=num_characters,C=FLOPs,loss_unigram=Lossu', '--approach=1',
                             '--bootstrap=200'),
              (('K_Nnv', -2.48465102, 'approach_1.paper_optimiser.K_Nnv'),
               ('K_Nv', -1.5890313, 'approach_1.paper_optimiser.K_Nv'),
               ('exponent', .41636226, 'approach_1.paper_optimiser.exponent'),
               ('exponent, at the optimum', .41636226, 'approach_1.exponent'))),
      Command('vocabulary', ('analysis.vocabulary', f'--data={FOLDER}/vocabulary/runs.csv',
                             '--columns=N_nv=Non_vocab_parameters,V=vocab_size,d=embed_dim,'
                             'H=num_characters,C=FLOPs,loss_unigram=Lossu', '--approach=2',
                             '--anchor_flops=2.7e17', '--bootstrap=0'),
              (('gamma', .8353974, 'approach_2.gamma'),
               *((f'V at N_nv {size}', value, f'approach_2.V.{i}')
                 for i, (size, value) in enumerate(ROOTS.items())))),
  ]
  vocabulary = ('--columns=N_nv=Non_vocab_parameters,V=vocab_size,d=embed_dim,H=num_characters,'
                'C=FLOPs,loss_unigram=Lossu')
  found.append(Command('vocabulary', (
      'analysis.vocabulary', f'--data={FOLDER}/vocabulary/runs.csv', vocabulary, '--approach=3',
      '--min_flops=2.18e17', '--bootstrap=200', '--tokens_from_chars_mode=official'),
      (('objective as published', .06229175, 'approach_3.published.objective'),
       ('R2 as published', .97165, 'approach_3.published.metrics.r2'),
       ('objective, lowest', .06229135, 'approach_3.objective'),
       *((name, value, f'approach_3.params_in_paper_units.{name}') for name, value in {
           'A1': 1.82888, 'A2': .190668, 'B': 2.12197, 'E': 5.53494, 'beta': .445317,
           'alpha2': .663671}.items()))))
  for name, file, values in (('rw', 'summary_df', (.8353, .7065, .6020, .5715, .4969)),
                             ('owt2', 'summary_df_owt2', (.8635, .6985, .6032, .5743, .5185))):
    for (hparams, warmup, decay, count), value in zip(PORIAN, values):
      where = (f"file == '{file}' and dataset == '{name}' and hparams == '{hparams}' and warmup == "
               f"'{warmup}' and decay == '{decay}' and param_count == '{count}'")
      found.append(Command('isoflop', (
          'analysis.isoflop', '--approach=pairs', f'--where={where}',
          f'--data={FOLDER}/isoflop_porian/optimal_pairs.csv',
          '--columns=N=n,C=flops,D=t,std=n_star_std'),
          ((f'exponent, {name} {hparams} {warmup} {decay} {count}', value, 'frontier.a'),)))
  for domain, r2 in (('github', .92), ('arxiv', .96), ('c4', .9), ('wikipedia', .9)):  # or more
    found.append(fit('mixture', 'dcpt', 'mixture_ndr/runs.csv',
                     f'--columns=N=model_size,D=n_tokens,r=weight_{domain},loss={domain}_loss',
                     '--hold_out=model_size > 1.2e9', '--bootstrap=0',
                     numbers={f'R2 of 1.235B, {domain}, from smaller': (
                         r2, 'held_out_metrics.r2')}))
  ratio = ' + '.join(f"{share}*(ratio == '{share}-{1 - share}')"
                     for share in (.25, .375, .5, .625, .75))
  for domain, step, k, b in (
      ('Github', 10000, -2.4381, -.5978), ('Github', 20000, -1.5473, -.6506),
      ('Github', 30000, -1.6405, -.6819), ('Pile-CC', 10000, -2.9041, -.5333),
      ('Pile-CC', 20000, -2.2959, -.5862), ('Pile-CC', 30000, -2.5189, -.6257)):
    r = ratio if domain == 'Github' else f'1 - ({ratio})'
    rows = (f'--data={FOLDER}/mixing_two_domains/2Mix_70M.csv.gz', f'--columns=r={r},loss=loss',
            f"--where=val_subdomain == '{domain}' and step == {step}")
    found.append(Command('mixing', ('analysis.fit', '--law=mixing', *rows, '--bootstrap=0',
                                    '--fix=c={analysis.offset}'),
                         ((f'k, {domain}, step {step}', k, 'params.k'),
                          (f'b, {domain}, step {step}', b, 'params.b'))))
  for model, value in (('6 Enc, 6 Dec', .26187), ('28 Enc, 6 Dec', .17085),
                       ('6 Enc, 28 Dec', .23403), ('Dec-only', .25197), ('TEnc-LSTM', .18992)):
    found.append(fit('learning curves', 'm1', 'learning_curves/nmt_lm.csv',
                     '--columns=x=`Seen Examples`,loss=Loss', f"--where=Model == '{model}'",
                     '--hold_out=Training == 0', '--bootstrap=0',
                     numbers={f'RMSE of log, {model}': (value, 'held_out_metrics.rmse_log')}))
  last = 'step >= 248000 and routing_frequency == .5 and k == 1 and seed == 42'
  found.append(fit('routing', 'routing', 'routing/curves.csv.gz',
                   '--columns=N=dense_parameter_count,experts=num_experts,loss=loss_validation',
                   f"--where={last} and (router_type == 'S-Base' or router_type == 'Dense')",
                   numbers=params(a=-.083, b=-.118, c=.0099, d=1.114, Es=2.07, Em=239)))
  found.append(fit('routing', 'kaplan_n', 'routing/curves.csv.gz',
                   '--columns=N=dense_parameter_count,loss=loss_validation',
                   f"--where={last} and router_type == 'Dense'", '--objective=mse_log',
                   numbers=params(alpha_N=.0785, N_c=3.69e13)))
  warm = 'linear:2160:3e-4'
  curves = {'cosine_24000': 'cosine:24000:3e-5', 'constant_24000': 'constant:24000',
            'wsdcon_9': 'constant:7999 constant:16000:9e-5'}
  others = {'cosine_72000': 'cosine:72000:3e-5', 'constant_72000': 'constant:72000',
            'wsd_20000_24000': 'constant:20000 exponential:24000:3e-5',
            'wsdld_20000_24000': 'constant:20000 linear:24000:3e-5',
            'wsdcon_3': 'constant:7999 constant:16000:3e-5',
            'wsdcon_18': 'constant:7999 constant:16000:18e-5'}

  def listed(some: dict[str, str]) -> str:
    return ','.join(f'{name}.csv={warm} {schedule}' for name, schedule in some.items())

  means = (('mean R2 of six curves', .9988, 'predicted_mean.r2'),
           ('mean absolute error', .00376, 'predicted_mean.mae'))
  folder = f'--folder={FOLDER}/lr_schedule_25m'
  found.append(Command('schedules', (
      'analysis.curves', folder, f'--predict={listed(others)}',
      '--params=L0=3.04045406,A=.52468604,alpha=.50786857,B=363.78751622,C=2.06560812,'
      'beta=.58279013,gamma=.64142257'), tuple((f'{what}, as published', *rest)
                                              for what, *rest in means)))
  found.append(Command('schedules', ('analysis.curves', folder, f'--fit={listed(curves)}',
                                     f'--predict={listed(others)}'),
                       tuple((f'{what}, our fit', *rest) for what, *rest in means)))
  return found


def value_at(found: Any, path: str) -> float:
  for part in path.split('.'):
    found = found[int(part)] if isinstance(found, list) else found[part]
  return float(found)


def interval_at(found: Any, path: str) -> list[float] | None:
  """The interval beside a value: intervals.X for params.X, a.intervals.X for a.X."""
  head, _, name = path.rpartition('.')
  try:
    parent = found if head == 'params' else found[head] if head else found
    return parent['intervals'][name]
  except (KeyError, TypeError):
    return None


def filled(command: Command) -> Callable[[str], str]:
  """Puts what analysis.offset prints for the same rows where a command names it."""

  def fill(argument: str) -> str:
    if '{analysis.offset}' not in argument:
      return argument
    rows = [a for a in command.arguments if a.startswith(('--data', '--columns', '--where'))]
    done = subprocess.run([sys.executable, '-m', 'analysis.offset', *rows], capture_output=True,
                          text=True, check=True)
    return argument.replace('{analysis.offset}', done.stdout.strip())

  return fill


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--only', default='', help='a topic')
  parser.add_argument('--verbose', action='store_true', help='print the commands too')
  options = parser.parse_args()
  if not os.path.isdir(FOLDER):
    sys.exit('SCALING_REFERENCE_DATA does not name a folder')
  print(f'{"number":52} {"published":>13} {"here":>13}  interval')
  with tempfile.TemporaryDirectory() as folder:
    for command in commands():
      if options.only not in command.topic:
        continue
      out = f'{folder}/out.json'
      typed = ['python', '-m', *map(filled(command), command.arguments), f'--out={out}']
      done = subprocess.run([sys.executable, *typed[1:]], capture_output=True, text=True)
      if done.returncode:
        print(f'{command.topic}: exit code {done.returncode}: {done.stderr.strip()}')
        continue
      with open(out) as file:
        found = json.load(file)
      if options.verbose:
        print(shlex.join(typed))
      for what, published, path in command.numbers:
        ends = interval_at(found, path)
        shown = f'[{ends[0]:.6g}, {ends[1]:.6g}]' if ends else ''
        print(f'{command.topic + ": " + what:52} {published:13.8g} {value_at(found, path):13.8g}  '
              f'{shown}', flush=True)
      for warning in found.get('warnings', []):
        print(f'  warning: {warning}')


if __name__ == '__main__':
  main()
