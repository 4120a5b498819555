"""How long the machine keeps a process waiting: what a check that has to look at times needs, to tell a late program from a late machine.

A thread sleeps for a moment and writes a few bytes, again and again. What that takes beyond the sleep, the machine has kept it waiting: for a
processor, for its disk, or as a whole. A program that is under test beside it may have waited as long.
"""

import tempfile
import threading
import time

PAUSE = 0.02
NOTED = 0.05  # what is shorter happens all the time


class Stalls:
    """Watches from its start on; use it in a `with`."""

    def __init__(self):
        self._found, self._ended = [], threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        with tempfile.TemporaryFile(buffering=0) as file:
            while not self._ended.is_set():
                begun = time.monotonic()
                self._ended.wait(PAUSE)
                file.seek(0)
                file.write(b"a few bytes")
                late = time.monotonic() - begun - PAUSE
                if late > NOTED:
                    self._found.append((time.monotonic(), late))

    def longest(self, since=0.0):
        """The longest stall that ended after this moment of the monotonic clock, in seconds."""
        return max((late for ended, late in list(self._found) if ended >= since), default=0.0)
