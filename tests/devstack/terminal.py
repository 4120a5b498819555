#!/usr/bin/env python3
"""devstack's table on a terminal: terminal.py DEVSTACK [--images DIR]. Keys break and repair, and the terminal is as before at the end.

With --images, the picture of the README is made anew; that needs Chromium.
"""
import fcntl, html, os, pty, re, select, signal, struct, subprocess, sys, termios, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

PARTS = ("provider", "vmauth", "vmagent", "store")
ROWS, COLUMNS = 32, 112
HOME = "\x1b[H\x1b[J"
COLOURS = {"1": "font-weight:bold", "2": "color:#8b949e", "31": "color:#ff7b72", "32": "color:#56d364"}


class Terminal:
    def __init__(self, binary):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.before, self.theirs, self.text = termios.tcgetattr(theirs), theirs, ""
        flags = ["-httpListenAddr=127.0.0.1:0", *(f"-{part}Addr=127.0.0.1:0" for part in PARTS)]
        self.process = subprocess.Popen([binary, *flags], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def read(self, seconds):
        if select.select([self.ours], [], [], seconds)[0]:
            self.text += os.read(self.ours, 1 << 16).decode(errors="replace")

    def screen(self):
        """The last whole screen."""
        whole = self.text.split(HOME)
        return whole[-1] if len(whole) > 1 else ""

    def wait(self, pattern, limit=60):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            self.read(0.2)
            if re.search(pattern, plain(self.screen())):
                return True
        return False

    def press(self, key):
        os.write(self.ours, key.encode())

    def ended(self, limit):
        """The exit code, None if it still runs; how long that took is told, not judged."""
        start = time.monotonic()
        while self.process.poll() is None and time.monotonic() < start + limit:
            self.read(0.02)
        print(f"note  the end took {time.monotonic() - start:.1f} s", flush=True)
        return self.process.poll()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)


def plain(text):
    return re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", text)


def picture(screen, path):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from blackbox.browser import Browser
    lines = []
    for line in screen.replace("\r", "").rstrip("\n").split("\n"):
        opened, shown = 0, ""
        for code, text in re.findall(r"(?:\x1b\[(\d+)m)?([^\x1b]*)", line):
            if code == "0":
                shown, opened = shown + "</span>" * opened, 0
            elif code:
                shown, opened = shown + f'<span style="{COLOURS[code]}">', opened + 1
            shown += html.escape(text)
        lines.append(shown + "</span>" * opened)
    browser = Browser(980, 17 * len(lines) + 26)
    try:
        browser.open("about:blank")
        page = '<body style="margin:12px;background:#0d1117;color:#e6edf3;font:13px/17px DejaVu Sans Mono,monospace"><pre style="margin:0;font:inherit">' + "\n".join(lines)
        browser.run(f"document.documentElement.innerHTML = {page!r}")
        browser.screenshot(path)
    finally:
        browser.close()


def main():
    binary, images = sys.argv[1], Path(sys.argv[3]) if sys.argv[2:3] == ["--images"] else None
    passed = failed = 0

    def check(what, good, seen=""):
        nonlocal passed, failed
        passed, failed = passed + bool(good), failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {seen!r}"))

    terminal = Terminal(binary)
    try:
        seen = lambda pattern: (terminal.wait(pattern), plain(terminal.screen()))
        check("the tenant has samples", *seen(r"0:0 +\d+ +[1-9]\d* +\d+ +[\d.]+s"))
        check("it fits", terminal.screen().count("\n") < ROWS, terminal.screen())
        terminal.press("s")
        check("s takes the store away", *seen(r"store     down .*(?s:.*)store-down +on"))
        check("the agent tries again", *seen(r"waiting, [1-9]\d* retries"))
        terminal.press("k")
        check("k makes a new key", *seen(r"\(2 published\)"))
        if images:
            terminal.wait(r"waiting, [4-9] retries")
            picture(terminal.screen(), images / "devstack-table.png")
        terminal.press("s")
        check("s brings it back", *seen(r"store     up "))
        terminal.press("c")
        check("c shows commands", *seen(r"curl -i http://127"))
        terminal.press("q")
        code = terminal.ended(60)
        check("q ends it", code == 0, code)
        check("the terminal is as before", termios.tcgetattr(terminal.theirs) == terminal.before and terminal.text.count("\x1b[?1049l") == 1)
    finally:
        terminal.close()

    terminal = Terminal(binary)
    try:
        check("it starts again", terminal.wait(r"0:0 +\d+ +[1-9]"))
        terminal.press("\x03")
        code = terminal.ended(60)
        check("Ctrl-C ends it", code == 0, code)
        check("the terminal is as before", termios.tcgetattr(terminal.theirs) == terminal.before)
    finally:
        terminal.close()
    print(f"devstack terminal: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
