"""One program a shape, the next one compiled in the background, and a cache that may be broken."""

import collections
import os
import subprocess
import sys
import types

import jax
import pytest

from scaling import executables, programs
from scaling.progress import Work
from scaling.specs import ModelSpec
from scaling.train import sharding, step
from scaling.train.program import Program
from scaling.train.shape import Shape

SHAPES = [Shape(ModelSpec(layers=1, width=8, heads=1), 8, 4, batch) for batch in (1, 2, 3, 4)]


def made(workdir, lanes=1, **options):
  return executables.Executables(str(workdir), collections.Counter(SHAPES), lanes, None,
                                 sharding.ANY, str, **options)


def pack(program):
  return types.SimpleNamespace(program=program, finished=[], tokens=0, flops=0.0, seconds={})


@pytest.mark.parametrize('background', [False, True])
def test_sixty_runs_over_four_shapes_compile_four_train_programs(tmp_path, monkeypatch,
                                                                 background):
  # Stand-ins: what is compiled does not matter, only how often.
  monkeypatch.setattr(step, 'train_steps', lambda model, size, pack, tokens, lr, *_: (pack, lr, lr))
  monkeypatch.setattr(step, 'window_losses', lambda model, size, params, w, *_: w.sum(1))
  found, work = made(tmp_path, background=background), Work(1.0, 0.0, 60, 0, None)
  queue = SHAPES * 15
  used = []
  for i, shape in enumerate(queue):
    program = found.get(shape)
    found.ahead(queue[i + 1:])
    work.count(pack(program))
    program.compile()
    used.append(id(program))
  assert len(set(used)) == 4
  assert work.compilations == 2 * 4  # a program trains and evaluates
  assert (found._thread is not None) == background


def test_the_next_shape_of_the_queue_is_compiled_ahead(tmp_path, monkeypatch):
  compiled = []
  monkeypatch.setattr(Program, 'compile', lambda self: compiled.append(self.shape))
  found = made(tmp_path, background=True)
  found.get(SHAPES[0])
  found.ahead([SHAPES[0], SHAPES[2], SHAPES[1]])
  found.wait()
  assert compiled == [SHAPES[2]]
  assert found.get(SHAPES[2]) is found.get(SHAPES[2])


def test_nothing_is_compiled_ahead_on_a_cpu_nor_what_must_be_timed_first(tmp_path, monkeypatch):
  compiled = []
  monkeypatch.setattr(Program, 'compile', lambda self: compiled.append(self.shape))
  made(tmp_path).ahead(SHAPES)
  unmeasured = made(tmp_path, lanes=None, background=True)
  unmeasured.ahead(SHAPES)
  unmeasured.wait()
  assert compiled == [] and jax.devices()[0].platform == 'cpu'
  programs.settle(str(tmp_path), SHAPES[0], 1, 1)  # A recorded program needs no timing.
  unmeasured.ahead(SHAPES)
  unmeasured.wait()
  assert compiled == [SHAPES[0]]


def test_an_error_of_the_thread_comes_when_the_program_is_needed(tmp_path, monkeypatch):
  def full(self, *arguments, **options):
    raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory')
  monkeypatch.setattr(Program, '_compiled', full)
  found = made(tmp_path, background=True)
  found.ahead(SHAPES)
  found.wait()
  program = found.get(SHAPES[0])
  assert program.compilations == 0
  with pytest.raises(RuntimeError, match='RESOURCE_EXHAUSTED'):
    program.compile()


LEAVING = """
import tempfile, time
from scaling import executables
from scaling.train.program import Program
from tests.scaling import test_executables
Program.compile = lambda self: time.sleep(600)
found = test_executables.made(tempfile.mkdtemp(), background=True)
found.leave(4)  # Nothing is compiled: it stays.
found.ahead(test_executables.SHAPES)
print('saved')
found.leave(3)
"""


def test_a_stop_does_not_wait_for_what_is_compiled_ahead():
  made = subprocess.run([sys.executable, '-c', LEAVING], text=True, timeout=60,
                        capture_output=True)
  assert (made.returncode, made.stdout) == (3, 'saved\n'), made.stderr


CACHED = """
import sys
import jax, jax.monitoring
from scaling import executables
executables.use_cache(sys.argv[1])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith('/cache_hits')))
print(float(jax.jit(lambda x: x * 3 + 1)(2.0)), sum(hits))
"""


def test_a_second_process_reads_a_moved_workdirs_cache_and_a_broken_one_is_not_fatal(tmp_path):
  def process(workdir):
    env = {k: v for k, v in os.environ.items() if not k.startswith('JAX_')}
    return subprocess.run([sys.executable, '-c', CACHED, str(workdir)], env=env, text=True,
                          check=True, capture_output=True).stdout.split()
  assert process(tmp_path / 'w') == ['7.0', '0']
  moved = (tmp_path / 'w').rename(tmp_path / 'moved')
  assert process(moved) == ['7.0', '1']
  files = list((moved / 'compiled').glob('*-cache'))
  assert files
  for file in files:
    file.write_bytes(file.read_bytes()[:20])
  assert process(moved) == ['7.0', '0']
