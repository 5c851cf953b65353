"""The announcement of an end by a metadata server, which this process serves."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

from scaling import preemption
from tests.scaling import sweeps


@contextlib.contextmanager
def metadata(state: dict[str, str], asked: list[str]) -> Iterator[str]:
  """Serves `state`, by path, and notes what it was asked."""
  class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
      known = self.headers['Metadata-Flavor'] == 'Google' and self.path in state
      self.send_response(200 if known else 403)
      self.end_headers()
      if known:
        asked.append(self.path)
        self.wfile.write(state[self.path].encode())

    def log_message(self, *_: object) -> None:
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield f'http://127.0.0.1:{server.server_port}/instance'
  server.shutdown()
  server.server_close()


def test_an_event_is_told_once_and_without_a_server_nothing_waits():
  state = {'/instance/maintenance-event': 'NONE', '/instance/preempted': 'FALSE'}
  asked: list[str] = []
  with metadata(state, asked) as url:
    for name, said in (('maintenance-event', 'TERMINATE_ON_HOST_MAINTENANCE'),
                       ('preempted', 'TRUE')):
      told: list[str] = []
      thread = preemption.watch(url, told.append, 0.01)
      assert thread is not None
      asked.clear()
      while len(asked) < 6:  # It looks again and again, and all is quiet.
        thread.join(0.01)
      assert thread.is_alive() and not told
      state[f'/instance/{name}'] = said
      thread.join(30)
      assert told == [f'{name} {said}'] and not thread.is_alive()
      state[f'/instance/{name}'] = preemption.QUIET[name]
  none = preemption.watch(url, told.append, 0.01)  # Nobody answers there any more.
  assert none is not None
  none.join(30)
  assert not none.is_alive() and len(told) == 1
  assert preemption.watch('', told.append) is None


def test_a_sweep_on_a_machine_that_is_preempted_leaves_its_runs_free(tmp_path, markov_store):
  with metadata({'/instance/maintenance-event': 'NONE', '/instance/preempted': 'TRUE'}, []) as url:
    stopped = sweeps.sweep(tmp_path, markov_store, f'--metadata_server={url}', expect=3)
  assert 'preempted TRUE' in stopped.stderr and not sweeps.results(tmp_path)
  assert not list(tmp_path.glob('workers/*.json'))
  for folder in tmp_path.glob('runs/*'):
    leases = sorted(folder.glob('lease.*'), key=lambda path: int(path.suffix[1:]))
    assert not leases or json.loads(leases[-1].read_text()) == {'worker': None}
