"""What the named configs promise."""

from __future__ import annotations

import pytest

from configs import markov, quickstart, tiny
from scaling import accounting, study
from scaling.errors import InputError
from tests.configs.golden import endless as stores


def test_quickstart_is_a_grid_and_a_larger_run():
  built = study.build(quickstart.get_config(), {}, stores)
  grid = [run.spec for run in built.runs if not run.held_out]
  held = [run.spec for run in built.runs if run.held_out]
  assert len(grid) >= 12 and len(held) == 1
  shapes = {spec.model for spec in grid}
  assert len(shapes) >= 4 and len({spec.tokens for spec in grid}) >= 3
  assert min(spec.steps for spec in grid) >= 800
  assert (accounting.non_embedding(held[0].model)
          > max(accounting.non_embedding(spec.model) for spec in grid))
  assert held[0].tokens > max(spec.tokens for spec in grid)
  assert built.laws == ('chinchilla',)


def test_quickstart_trains_every_size_on_every_budget():
  built = study.build(quickstart.get_config(), {}, stores)
  cells = {(run.spec.model, run.spec.tokens) for run in built.runs if not run.held_out}
  assert len(cells) == len({cell[0] for cell in cells}) * len({cell[1] for cell in cells})


def test_tiny_is_one_shape_and_few_tokens():
  runs = study.build(tiny.get_config(), {}, stores).runs
  assert len(runs) == 4
  assert len({run.spec.model for run in runs}) == 1
  assert max(run.spec.tokens for run in runs) < 10_000


def test_markov_takes_a_scale():
  assert study.build(markov.get_config('tiny'), {}, stores).name == 'markov-tiny'
  with pytest.raises(InputError, match="scale: 'huge' is not allowed; allowed are full, tiny"):
    markov.get_config('huge')
