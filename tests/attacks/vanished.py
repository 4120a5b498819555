"""Peers that vanish without a word, as behind a dead NAT or a pulled cable: what they hold is given back."""

import os
import subprocess
import time

from kit import BACKEND_PORT, PORT, REQUEST, Backend, Vmauth, check, command, exchange, status, wait_for

CONFIG = f"unauthorized_user:\n  max_concurrent_requests: 2\n  url_prefix: 'http://127.0.0.1:{BACKEND_PORT}/'\n"
OUTSIDE, INSIDE = "10.8.0.2", "10.8.0.1"
PATIENCE = 60


class Silent(Backend):
    """Switches protocols on /ws, then says nothing; answers other requests."""

    def serve(self, connection):
        with connection:
            head = connection.recv(65536)
            if b"/ws" not in head:
                return self.answer(connection)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while connection.recv(65536):
                pass


def run():
    """The clients are on the other side of a pair of interfaces, whose end is taken down."""
    Silent()
    command("ip", "link", "add", "inside", "type", "veth", "peer", "name", "outside")
    for name, address in (("inside", INSIDE), ("outside", OUTSIDE)):
        command("ip", "link", "set", name, "up")
        command("ip", "address", "add", f"{address}/24", "dev", name)
    other = subprocess.Popen(["unshare", "-n", "sleep", "300"])
    try:
        ours = os.readlink("/proc/self/ns/net")
        wait_for("a namespace of its own", lambda: os.readlink(f"/proc/{other.pid}/ns/net") != ours)
        command("ip", "link", "set", "outside", "netns", str(other.pid))
        enter = ["nsenter", "-t", str(other.pid), "-n"]
        command(*enter, "ip", "address", "add", f"{OUTSIDE}/24", "dev", "outside")
        command(*enter, "ip", "link", "set", "outside", "up")
        with Vmauth(CONFIG, f"-httpListenAddr=0.0.0.0:{PORT}", "-maxQueueDuration=500ms") as vmauth:
            holders = [subprocess.Popen([*enter, "python3", "-c", HOLDER], stdout=subprocess.PIPE) for _ in range(2)]
            got = [holder.stdout.readline() for holder in holders]
            check("vanished: two tunnels hold both slots", [line.strip() for line in got] == [b"101"] * 2 and again() == 429, f"{got} {vmauth.troubles()}")
            command("ip", "link", "set", "inside", "down")
            started = time.monotonic()
            while again() != 200 and time.monotonic() - started < PATIENCE:
                time.sleep(1)
            seconds = time.monotonic() - started
            check(f"vanished: their slots are free again within {PATIENCE} s", again() == 200, vmauth.troubles())
            print(f"note  vanished: after {seconds:.0f} s", flush=True)
            for holder in holders:
                holder.kill()
                holder.wait()
    finally:
        other.kill()
        other.wait()


HOLDER = f"""
import socket, time
client = socket.create_connection(("{INSIDE}", {PORT}), 30)
client.sendall(b"GET /ws HTTP/1.1\\r\\nHost: h\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
print(client.recv(4096).split()[1].decode(), flush=True)
time.sleep(300)
"""


def again():
    return status(exchange(REQUEST, ("127.0.0.1", PORT), 20))
