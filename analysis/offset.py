"""The constant of a mixing law chosen before its other parameters, as published fits were made.

  python -m analysis.offset --data=runs.csv --columns='r=ratio,loss=loss' --where='step == 10000'

prints c in y = c + exp(k r + b) that makes ln(y - c) most nearly a straight line in r; give it to
`python -m analysis.fit --law=mixing --fix=c=...`. Without --fix the fit chooses c, k and b
together, with a lower objective.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from analysis import laws
from analysis.laws import mixing
from analysis.reading import points
from scaling import cli

FLAGS = flags.FLAGS


def start() -> None:
  """Defines the flags and runs the command."""
  flags.DEFINE_string('data', None, 'A CSV or JSON-lines file.')
  flags.DEFINE_string('columns', '', 'r=expression,loss=expression over the columns of --data.')
  flags.DEFINE_string('where', '', "A condition on the rows, such as 'step == 10000'.")
  flags.DEFINE_integer('points', 1000, 'How many values of c to try between 0 and the least loss.',
                       lower_bound=3, upper_bound=1_000_000)
  cli.run(main, need=('data',))


def main(argv: list[str]) -> None:
  del argv
  data = points.of_table(laws.get('mixing'), FLAGS.data, FLAGS.columns, FLAGS.where, '')
  kept = np.isfinite(data.loss) & np.isfinite(data.inputs['r'])
  print(f'{mixing.offset(data.inputs["r"][kept], data.loss[kept], FLAGS.points):.9g}')


if __name__ == '__main__':
  start()
