"""What a script of checks says: a line for each, `ok` or `FAIL` with the reason, and `N passed, N failed` at the end.

A script that is told to end (SIGTERM, as by `timeout`) ends as by an exception, so that it takes its folders and processes with it.
"""

import signal
import sys
import threading
import time
import traceback

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

_lock = threading.Lock()
_results = {True: 0, False: 0}


def check(name, passed, detail=""):
    """Counts a result and prints its line; gives it back."""
    with _lock:
        _results[bool(passed)] += 1
        print(f"ok    {name}" if passed else f"FAIL  {name}: {detail}", flush=True)
    return bool(passed)


def note(text):
    with _lock:
        print(f"note  {text}", flush=True)


def summary(of=""):
    """Prints the last line, of these checks by name if they have one; gives the exit code. No check at all is a failure."""
    print(f"{of and f'{of}: '}{_results[True]} passed, {_results[False]} failed", flush=True)
    return 1 if _results[False] or not _results[True] else 0


def wait_for(what, condition, patience=60.0, pause=0.05):
    """The first true value of the condition; raises when there is none in time."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:g} s for {what}")
        time.sleep(pause)


def run_parts(parts, only=""):
    """Calls each part whose `module.name` has `only` in it. One that raises is a failed check, and the others go on."""
    for part in parts:
        name = f"{part.__module__}.{part.__name__}"
        if only not in name:
            continue
        begun = time.monotonic()
        try:
            part()
        except Exception:
            check(name, False, traceback.format_exc())
        note(f"{name}: {time.monotonic() - begun:.1f} s")
