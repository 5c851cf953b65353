"""How many lanes a forest of segments can fill."""

import types

from scaling import paths, prefixes
from scaling.leases import Worker
from scaling.prefixes import Segment
from scaling.progress import Work
from scaling.runs import Run
from scaling.segments import Queue
from scaling.specs import DataSpec, DomainSpec, RunSpec


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


def test_what_is_left_counts_the_longest_way_below():
  trunk = [('a', 0, 8, None), ('b', 0, 8, 'a'), ('1', 0, 2, 'a'), ('2', 0, 4, 'b'),
           ('3', 0, 9, None)]
  assert paths.left(forest(*trunk)) == {'a': 20, 'b': 12, '1': 2, '2': 4, '3': 9}


def test_a_pack_is_filled_with_the_longest_first_and_begun_in_the_order_of_the_study(tmp_path):
  data = DataSpec({'a': DomainSpec()}, vocab_size=8, length=4, batch=2)
  steps = {'a': 10, 'b': 40, 'c': 20, 'd': 40}
  runs = [(name, RunSpec(steps=n, data=data)) for name, n in steps.items()]

  for name, spec in runs:
    Run(str(tmp_path), name).prepare(spec)

  def taken(*wanted):
    queue = Queue(str(tmp_path), Worker(str(tmp_path)), prefixes.forest(runs, share=False))
    found = []
    while (claimed := queue.take(*wanted)) is not None:
      claimed.lease.release()
      found.append(claimed.run.run_id)
    return found

  assert taken() == ['a', 'b', 'c', 'd']
  assert taken(lambda spec: spec.steps > 5) == ['b', 'd', 'c', 'a']


def test_what_another_worker_finishes_is_counted_once(tmp_path):
  data = DataSpec({'a': DomainSpec()}, vocab_size=8, length=4, batch=2)
  runs = [(name, RunSpec(steps=10, data=data)) for name in 'abc']
  for name, spec in runs:
    Run(str(tmp_path), name).prepare(spec)
  worker, other = Worker(str(tmp_path)), Worker(str(tmp_path))
  work = Work(300.0, 0.0, 3, 0, None)
  queue = Queue(str(tmp_path), worker, prefixes.forest(runs, share=False),
                settled=lambda segment: work.settle(100.0, 1))
  claimed = Queue(str(tmp_path), other, prefixes.forest(runs, share=False)).take()
  assert queue.take().run.run_id == 'b' and work.done == 0  # The other is still at a.
  claimed.run.write_end(claimed.lease, 10, 0)
  claimed.lease.release()
  assert queue.take().run.run_id == 'c' and queue.take() is None
  assert work.done == 1 and '1/3 runs done' in work.line()
  begun = work._elapsed
  assert 2 * begun <= work.left <= 2 * work._elapsed + 1e-6  # Two thirds are left.
