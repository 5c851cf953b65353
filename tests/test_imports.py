"""The packages import without what only building a token store or launching needs."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

# Not rich, which flax imports by itself.
HEAVY = ('tensorflow', 'seqio', 'tensorflow_datasets', 'sentencepiece', 'xmanager')

PROGRAM = f'''
import importlib, json, pkgutil, sys
from absl import flags
names, own = [], set(flags.FLAGS)
for package in ('scaling', 'analysis', 'configs'):
  names.append(package)
  for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + '.'):
    importlib.import_module(module.name)
    names.append(module.name)
    for flag in set(flags.FLAGS) - own:  # Two entry points may each have a --store.
      delattr(flags.FLAGS, flag)
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([names, loaded]))
'''


def test_no_module_imports_what_is_heavy():
  done = subprocess.run([sys.executable, '-c', PROGRAM], cwd=ROOT, text=True, capture_output=True)
  assert done.returncode == 0, done.stderr
  names, loaded = json.loads(done.stdout.splitlines()[-1])
  assert {'scaling.specs', 'scaling.study', 'analysis.laws'} <= set(names)
  assert loaded == []


def test_a_study_is_built_without_jax():
  """Plans and mistakes come up at once, not after seconds of imports."""
  program = ('import sys, scaling.cli, scaling.study, configs.quickstart\n'
             'assert "jax" not in sys.modules, "jax"')
  subprocess.run([sys.executable, '-c', program], cwd=ROOT, check=True)
