"""A fleet of TPU VMs made, filled, started, lost, made again and torn down, by a stand-in gcloud
whose machines are folders of this one: what it is told to run on them, it runs."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

# $4 is the verb and $5 the first argument of `gcloud compute tpus tpu-vm`.
GCLOUD = '''#!/bin/sh
cd {state} || exit 9
echo "$*" >> log
case "$*" in
  config*) echo own-project; exit;;
  "storage cp - gs://forbidden"*) cat > /dev/null; echo "ERROR: HTTPError 403" >&2; exit 1;;
  storage*) exit;;
esac
name=$5
case $4 in
  create) [ ! -e "$name" ] && mkdir "$name" && echo READY > "$name.state";;
  delete) rm -r "$name" "$name.state";;
  list) for f in *.state; do [ -e "$f" ] && echo "${{f%.state}} $(cat "$f")"; done; exit 0;;
  scp) cp "$5" "${{6%%:*}}/${{6#*:}}";;
  ssh) for a; do case $a in --command=*) command=${{a#--command=}};; esac; done
    cd "$name" && exec env HOME="$PWD" PYTHONPATH= sh -c "$command";;
esac
'''


@pytest.fixture
def cloud(tmp_path, monkeypatch) -> pathlib.Path:
  (tmp_path / 'bin').mkdir()
  (tmp_path / 'cloud').mkdir()
  (tmp_path / 'bin/gcloud').write_text(GCLOUD.format(state=tmp_path / 'cloud'))
  (tmp_path / 'bin/gcloud').chmod(0o755)
  monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')
  return tmp_path / 'cloud'


def _command(action: str, *flags: str, config: str = 'configs/tiny.py') -> list[str]:
  # The install makes .venv/bin/python, this test's, and the sweep only looks at the study.
  install = (f"mkdir -p .venv/bin && echo 'exec {sys.executable} \"$@\"' > .venv/bin/python && "
             'chmod +x .venv/bin/python')
  return [sys.executable, '-m', 'xm_launch.tpu_vm', f'--action={action}', '--name=dcpt',
          '--count=2', '--zone=us-west4-a', '--project=p', '--type=v5litepod-8', '--version=v2',
          '--spot', f'--install={install}', f'--config={config}', '--config.base.steps=12',
          '--mode', 'status', '--nojson', *flags]


def _run(command: list[str], expect: int = 0) -> subprocess.CompletedProcess:
  done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=120)
  assert done.returncode == expect, done.stdout + done.stderr
  assert 'Traceback' not in done.stderr, done.stderr
  return done


def test_a_fleet_from_nothing_through_a_preemption_to_nothing(cloud, markov_store, tmp_path):
  (tmp_path / 'w').mkdir()  # The look at a study asks for its folder.
  study = (f'--workdir={tmp_path}/w', f'--store={markov_store}', '--poll=0.3')
  _run(_command('create,copy,start', *study))
  ends = [cloud / f'dcpt-{i}/scaling-laws/sweep.rc' for i in range(2)]
  limit = time.monotonic() + 60
  while not all(end.exists() for end in ends):
    assert time.monotonic() < limit
    time.sleep(0.05)
  assert [end.read_text() for end in ends] == ['0\n', '0\n']
  # The second one is preempted in the middle of its work, and all that it held is lost with it.
  ends[1].unlink()
  (cloud / 'dcpt-1.state').write_text('PREEMPTED')
  watched = _run(_command('watch,logs,delete', *study)).stdout
  assert 'dcpt-1: preempted, making it again' in watched and 'dcpt-0: created' not in watched
  assert [f'dcpt-{i}: ended with exit code 0' in watched for i in range(2)] == [True, True]
  followed = [line for line in watched.splitlines() if 'planned        0/12' in line]
  assert sorted(line.split(':')[0] for line in followed) == ['dcpt-0'] * 4 + ['dcpt-1'] * 4
  assert {p.name for p in cloud.iterdir()} == {'log'}
  verbs = [line.split()[3:5] for line in (cloud / 'log').read_text().splitlines()]
  assert verbs.count(['create', 'dcpt-1']) == 2 and verbs.count(['create', 'dcpt-0']) == 1


def test_a_dry_run_prints_commands_and_runs_none(cloud):
  done = _run(_command('create,copy,start,watch,stop,delete', '--dry_run', '--workdir=gs://b/w'))
  lines = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith('gcloud c')]
  assert {tuple(line[4:6]) for line in lines if line[4] != 'list'} >= {
      (verb, f'dcpt-{i}') for verb in ('create', 'ssh', 'delete') for i in range(2)}
  create = next(line for line in lines if line[4] == 'create')
  assert {'--accelerator-type=v5litepod-8', '--spot', '--project=p', '--zone=us-west4-a',
          '--version=v2'} <= set(create)
  start = next(part for line in lines for part in line if 'nohup' in part)
  assert ('-m scaling.sweep --config=configs/tiny.py --config.base.steps=12 --mode status --nojson '
          '--workdir=gs://b/w;') in start and '--count' not in start
  assert not (cloud / 'log').exists()


@pytest.mark.parametrize('flags, words', [
    (('--workdir=gs://forbidden/w',), ('--workdir', 'gs://forbidden/w', '403')),
    (('--workdir=here',), ('--workdir', "'here'", 'bucket')),
    (('--workdir=gs://b/w', '--project=', '--dry_run'), ('--project', 'must be given')),
    (('--workdir=gs://b/w', '--type='), ('--type', 'must be given')),
    (('--workdir=gs://b/w', 'elsewhere'), ('--config', 'source tree')),
])
def test_bad_flags_are_one_line_before_anything_starts(cloud, flags, words):
  config = f'{ROOT}/configs/tiny.py' if 'elsewhere' in flags else 'configs/tiny.py'
  flags = [flag for flag in flags if flag != 'elsewhere']
  failed = _run(_command('create,start', *flags, config=config), expect=2)
  assert len(failed.stderr.splitlines()) == 1
  assert all(word in failed.stderr for word in words), failed.stderr
  assert 'tpu-vm' not in ((cloud / 'log').read_text() if (cloud / 'log').exists() else '')
