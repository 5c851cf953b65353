"""How many lanes a forest of segments can fill."""

import types

from scaling import paths
from scaling.prefixes import Segment


def forest(*segments):
  """From (name, kind, tokens, parent)."""
  return {name: Segment(name, types.SimpleNamespace(
      kind=kind, data=types.SimpleNamespace(tokens_per_step=1)), 0, tokens, parent, ())
          for name, kind, tokens, parent in segments}


def parallel(*segments):
  return paths.parallel(forest(*segments), lambda spec: spec.kind)


def test_runs_alone_have_a_lane_each_and_those_of_a_trunk_hardly_more_than_one():
  assert parallel(*((str(i), i % 2, 10 + i, None) for i in range(7))) == {0: 4, 1: 3}
  # Budgets of 1, 2, 4, 8 units, decay over a fifth: 9.4 units, of which 8 follow one another.
  trunk = [('a', 0, 8, None), ('b', 0, 8, 'a'), ('c', 0, 16, 'b'), ('d', 0, 48, 'c'),
           ('1', 0, 2, 'a'), ('2', 0, 4, 'b'), ('3', 0, 8, 'c')]
  assert parallel(*trunk) == {0: 2}
  twice = [(name + end, kind, tokens, parent and parent + end)
           for end in 'xyz' for name, kind, tokens, parent in trunk]
  assert parallel(*twice) == {0: 4}  # 282 tokens, 80 of which follow one another


def test_stages_below_one_run_are_as_many_as_they_are():
  children = [(str(i), 0, 100, 'a') for i in range(10)]
  assert parallel(('a', 0, 1, None), *children) == {0: 10}
  # Of another shape they wait for none of their own.
  assert parallel(('a', 1, 1, None), *children) == {0: 10, 1: 1}
