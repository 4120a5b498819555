#!/usr/bin/env python3
"""Kills a vmagent again and again while it takes pushes, and fills its disk: run.py VMAGENT [--rounds N] [--seed N]

Each round starts the agent over the same directory, pushes numbered samples while the remote is there, away or both in turn, and ends with
`kill -9` at a random moment. At the end everything that is on disk is delivered. It checks that no block and no sample was spoiled, that no start
failed, and that what was accepted more than two seconds before a kill has arrived; what the machine has kept everybody waiting comes on top of these. Then a file system of 3 MiB fills up (in a mount
namespace; elsewhere this part says so and is left out). Ends with `N passed, N failed`.
"""

import argparse
import http.client
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from receiver import Agent, Checks, Receiver, Stalls, line, wait

BOUND = 2.0  # seconds, see docs/reference/vmagent-queue.md
BATCH = 40


class Pusher(threading.Thread):
    """Pushes batches one after the other; remembers which numbers were accepted, and when."""

    def __init__(self, agent, numbers, accepted):
        super().__init__(daemon=True)
        self.agent, self.numbers, self.accepted, self.ended = agent, numbers, accepted, False

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=60)
        while not self.ended:
            batch = [next(self.numbers) for _ in range(BATCH)]
            try:
                connection.request("POST", "/api/v1/import/prometheus", "".join(map(line, batch)))
                reply = connection.getresponse()
                reply.read()
            except (OSError, http.client.HTTPException):
                break
            if reply.status == 204:
                now = time.monotonic()
                self.accepted.extend((number, now) for number in batch)
            time.sleep(0.005)
        connection.close()


class Numbers:
    def __init__(self):
        self.last, self.lock = 0, threading.Lock()

    def __next__(self):
        with self.lock:
            self.last += 1
            return self.last


def round_of(agent, receiver, numbers, mood, stalls):
    """Pushes and kills; accepted numbers with their age in seconds at the kill, without the time for which the machine stood still."""
    accepted, begun = [], time.monotonic()
    pushers = [Pusher(agent, numbers, accepted) for _ in range(2)]
    receiver.away = mood != "there"
    for pusher in pushers:
        pusher.start()
    end = time.monotonic() + random.uniform(0.2, 4.5)
    while time.monotonic() < end:
        time.sleep(min(0.3, max(0.0, end - time.monotonic())))
        if mood == "both":
            receiver.away = not receiver.away
    agent.process.kill()
    killed = time.monotonic()
    agent.process.wait()
    for pusher in pushers:
        pusher.ended = True
    for pusher in pushers:
        pusher.join()
    stalled = stalls.longest(begun)
    if stalled > 0.5:
        print(f"note  the machine has stalled for {stalled:.2f} s")
    return [(number, killed - at - stalled) for number, at in accepted]


def kills(binary, rounds, checks, folder):
    receiver, numbers, ages, damages = Receiver(), Numbers(), {}, 0
    data, log = folder / "data", folder / "log"
    with Stalls() as stalls:
        for index in range(rounds):
            agent = Agent(binary, receiver.url, data, log)
            damages += agent.metric("vm_persistentqueue_damages_total")
            ages.update(round_of(agent, receiver, numbers, ("there", "away", "both")[index % 3], stalls))
    receiver.away = False
    agent = Agent(binary, receiver.url, data, log)
    drained = wait("the queue is drained", agent.is_idle, 120)
    unclean = agent.metric("vm_app_prev_shutdown_unclean")
    code = agent.stop()
    lost = {number: age for number, age in ages.items() if number not in receiver.seen}
    late = {number: age for number, age in lost.items() if age > BOUND}
    twice = sum(count - 1 for count in receiver.seen.values())
    print(f"{rounds} rounds: {len(ages)} samples accepted, {len(receiver.seen)} arrived, {twice} of them again, {len(lost)} lost, the oldest "
          f"{max(lost.values(), default=0):.2f} s before a kill; {damages:.0f} places of the files were unreadable")  # fmt: skip
    checks.check("no block or sample was spoiled", not receiver.broken, receiver.broken[:3])
    checks.check("what arrived was pushed", max(receiver.seen, default=0) <= numbers.last and min(receiver.seen, default=1) > 0)
    checks.check(f"what was accepted {BOUND:.0f} s before a kill has arrived", not late, sorted(late.items())[:5])
    checks.check("pushes were accepted", len(ages) > rounds * BATCH, len(ages))
    checks.check("the queue is drained at the end", drained)
    checks.check("the start after a kill says so", unclean == 1, unclean)
    checks.check("the last stop is in order", code == 0, code)
    checks.check("nothing has panicked", "panic" not in log.read_text(), log)


def full_disk(binary, checks, folder):
    """Inside a mount namespace: the queue's file system takes 3 MiB."""
    disk, log = folder / "disk", folder / "disk.log"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    receiver, numbers, accepted = Receiver(), Numbers(), []
    receiver.away = True
    agent = Agent(binary, receiver.url, disk / "data", log, "-memory.allowedBytes=4MiB")
    pusher = Pusher(agent, numbers, accepted)
    pusher.start()
    full = wait("the disk is full", lambda: agent.metric("vm_persistentqueue_io_errors_total") > 0, 120)
    checks.check("a full disk is counted", full)
    checks.check("the agent lives on", agent.process.poll() is None and agent.get("/health") == "OK")
    wait("blocks without a place", lambda: agent.metric("vm_persistentqueue_unwritten_blocks_total") > 0, 60)
    checks.check("what has no place is counted", agent.metric("vm_persistentqueue_unwritten_blocks_total") > 0)
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    before = agent.metric("vm_persistentqueue_blocks_written_total")
    again = wait("writing again", lambda: agent.metric("vm_persistentqueue_blocks_written_total") > before, 120)
    checks.check("with room again blocks are written again", again)
    receiver.away = False
    pusher.ended = True
    pusher.join()
    checks.check("everything that was kept is delivered", wait("drained", agent.is_idle, 120))
    checks.check("the oldest samples are among it", all(number in receiver.seen for number, _ in accepted[:BATCH]))
    checks.check("no block or sample was spoiled by the full disk", not receiver.broken, receiver.broken[:3])
    checks.check("the stop is in order", agent.stop() == 0)
    subprocess.run(["umount", disk], check=True)
    checks.check("nothing has panicked on a full disk", "panic" not in log.read_text(), log)


def unshare():
    """The command that makes a mount namespace here, or None."""
    for options in (["-m"], ["-r", "-m"]):
        if subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0:
            return ["unshare", *options]
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only-full-disk", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    binary, checks = os.path.abspath(args.binary), Checks()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory(prefix="agent-crash-") as folder:
        if args.only_full_disk:
            full_disk(binary, checks, Path(folder))
            return checks
        print(f"--seed {args.seed}")
        kills(binary, args.rounds, checks, Path(folder))
    if make := unshare():
        inner = subprocess.run([*make, sys.executable, __file__, binary, "--only-full-disk"], capture_output=True, text=True)
        *lines, last = inner.stdout.splitlines() or [""]
        print("\n".join(lines), inner.stderr, sep="\n" if inner.stderr else "")
        passed, failed = (int(word) for word in last.split() if word.isdigit()) if last.endswith("failed") else (0, 1)
        checks.passed, checks.failed = checks.passed + passed, checks.failed + failed
    else:
        print("left out: no mount namespaces here, so no disk that fills up")
    return checks


if __name__ == "__main__":
    result = main()
    print(f"{result.passed} passed, {result.failed} failed")
    sys.exit(1 if result.failed else 0)
