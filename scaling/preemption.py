"""Notice that this machine is about to be taken away, from the metadata server of Google Cloud.

  GET http://metadata.google.internal/computeMetadata/v1/instance/maintenance-event
  Metadata-Flavor: Google   ->  NONE, MIGRATE_ON_HOST_MAINTENANCE, TERMINATE_ON_HOST_MAINTENANCE
  GET .../instance/preempted   ->  TRUE once a spot machine is being preempted

https://cloud.google.com/compute/docs/metadata/getting-live-migration-notice. A TPU VM cannot
migrate, so any event ends it. Elsewhere there is no such server, and no thread stays.
"""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

SERVER = 'http://metadata.google.internal/computeMetadata/v1/instance'
QUIET = {'maintenance-event': 'NONE', 'preempted': 'FALSE'}
TIMEOUT = 2.0  # seconds; a metadata server is on the same machine


def watch(server: str, tell: Callable[[str], None], seconds: float = 5.0,
          ) -> threading.Thread | None:
  """Calls `tell` once, with what is to happen, when the server announces an end.

  Returns None, at once, where `server` is empty, and ends by itself where nothing answers at first.
  """
  if not server:
    return None
  thread = threading.Thread(target=_watch, args=(server.rstrip('/'), tell, seconds),
                            name='preemption', daemon=True)
  thread.start()
  return thread


def _watch(server: str, tell: Callable[[str], None], seconds: float) -> None:
  pause = threading.Event()
  if all(_ask(server, name) is None for name in QUIET):
    return
  while True:
    for name, quiet in QUIET.items():
      said = _ask(server, name)
      if said not in (None, '', quiet):
        tell(f'{name} {said}')
        return
    pause.wait(seconds)


def _ask(server: str, name: str) -> str | None:
  """What the server says of `name`; None where it says nothing now."""
  request = urllib.request.Request(f'{server}/{name}', headers={'Metadata-Flavor': 'Google'})
  try:
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
      return reply.read().decode().strip()
  except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError):
    return None
