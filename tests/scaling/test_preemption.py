"""The announcement of an end by a metadata server, which this process serves."""

from __future__ import annotations

import http.server
import threading

from scaling import preemption


def test_an_event_is_told_once_and_without_a_server_nothing_waits():
  state = {'/instance/maintenance-event': 'NONE', '/instance/preempted': 'FALSE'}
  asked: list[str] = []

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
  url = f'http://127.0.0.1:{server.server_port}/instance'
  for name, said in (('maintenance-event', 'TERMINATE_ON_HOST_MAINTENANCE'), ('preempted', 'TRUE')):
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
  server.shutdown()
  server.server_close()
  none = preemption.watch(url, told.append, 0.01)  # Nobody answers there any more.
  assert none is not None
  none.join(30)
  assert not none.is_alive() and len(told) == 1
  assert preemption.watch('', told.append) is None
