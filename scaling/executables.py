"""The programs of a sweep, one a shape; the next shape's is compiled while this one trains.

Compiled programs are also kept in the workdir, private to it, so that a resumed sweep and other
workers read them. A file there that cannot be read is compiled again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping

import jax

from scaling import files, programs
from scaling.errors import InputError
from scaling.hosts import Hosts
from scaling.train.program import Program
from scaling.train.shape import Shape
from scaling.train.sharding import ANY, Axes


def use_cache(workdir: str) -> None:
  """Keeps what takes half a second to compile in WORKDIR/compiled, also when WORKDIR is moved.

  Not moved on GPUs: there XLA keeps the tunings of its kernels beside the programs, and that
  folder's path is in every program's key. Without it, workers that compile a shape at the same
  time may choose other kernels, and other bits.
  """
  jax.config.update('jax_compilation_cache_dir', f'{workdir}/compiled')
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
  if jax.default_backend() != 'gpu':
    jax.config.update('jax_persistent_cache_enable_xla_caches', 'none')


class Executables:
  """One program a shape, however often the sweep returns to it.

  `members` counts the study's segments of each shape that can train at once; `lanes`,
  `accumulation` and `axes` are what was asked for (scaling/programs.py). `background`: whether
  `ahead` compiles; None: on accelerators only, since on a CPU it would take the cores that train.
  """

  def __init__(self, workdir: str, members: Mapping[Shape, int], lanes: int | None,
               accumulation: int | None, axes: Axes, say: Callable[[str], None],
               background: bool | None = None, hosts: Hosts | None = None):
    self._workdir, self._members, self._say = workdir, members, say
    self._lanes, self._accumulation, self._axes = lanes, accumulation, axes
    self._hosts = hosts
    if hosts is not None:  # Who else compiles, and trains, must do it in the same order.
      background = False
    self._background = jax.devices()[0].platform != 'cpu' if background is None else background
    self._made: dict[Shape, Program] = {}
    self._thread: threading.Thread | None = None

  def get(self, shape: Shape) -> Program:
    """The program of a shape, not necessarily compiled yet; what it costs is the pack's to count.

    The first time its settings are chosen, and measured with lanes None on accelerators; it then
    waits for a compilation in the background, which would disturb the measurement.
    """
    if shape not in self._made:
      if not self._settled(shape):
        self.wait()
      self._made[shape] = self._program(shape)
    return self._made[shape]

  def ahead(self, queue: Iterable[Shape]) -> None:
    """Begins to compile the first shape of the queue that has no program yet.

    Only with recorded settings or given lanes: packs cannot be timed while another trains. An
    error is left to the pack that needs the program: it compiles again, and fails there.
    """
    if not self._background or (self._thread is not None and self._thread.is_alive()):
      return
    shape = next((s for s in queue if s not in self._made), None)
    if shape is None or not self._settled(shape):
      return
    try:
      program = self._made[shape] = self._program(shape)
    except InputError:
      return
    self._thread = threading.Thread(target=_compile, args=(program,), name='compile-ahead')
    self._thread.start()

  def wait(self) -> None:
    """Until nothing is compiled in the background."""
    if self._thread is not None:
      self._thread.join()

  def leave(self, code: int) -> None:
    """Ends the process at once if something is compiled in the background; else does nothing.

    A compilation of minutes cannot be interrupted, and Python would wait for its thread; as a
    daemon it aborts the process when it comes back to a Python that is gone (exit code 134). An
    entry of the cache that is half written is compiled again.
    """
    if self._thread is not None and self._thread.is_alive():
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(code)

  def _settled(self, shape: Shape) -> bool:
    return self._lanes is not None or files.exists(programs.record_path(self._workdir, shape))

  def _program(self, shape: Shape) -> Program:
    """The recorded program of a shape; says where it is not what was asked for."""
    settings, record = programs.settle(self._workdir, shape, self._members[shape], self._lanes,
                                       self._accumulation, self._axes)
    for flag, asked, used in (
        ('pack', self._lanes or settings.lanes, settings.lanes),
        ('accumulation', self._accumulation or settings.accumulation, settings.accumulation),
        ('mesh', *self._mesh(settings))):
      if asked != used:
        self._say(f'--{flag}={asked}: this workdir trains the shape with {used}, and goes on so, '
                  'since another program would give other bits')
    if record.get('versions') != programs.versions():
      self._say(f'this workdir began with {record.get("versions")}, this is '
                f'{programs.versions()}: curves may differ beyond rounding from those of before')
    return programs.build(shape, settings, self._hosts)

  def _mesh(self, settings: programs.Settings) -> tuple[str, str]:
    """The mesh asked for and the one used; the same text where it was left open."""
    asked, used = self._axes, settings.axes
    if asked.run is None:
      asked = dataclasses.replace(asked, run=used.run)
    return str(used if self._axes == ANY else asked), str(used)


def _compile(program: Program) -> None:
  with contextlib.suppress(Exception):  # It comes again, where it can be told whose it is.
    program.compile()
