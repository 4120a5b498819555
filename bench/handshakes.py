#!/usr/bin/env python3
"""New TLS connections, each with one request: the load of the scenarios `tls-new` and `tls-resumed`.

    handshakes.py PORT SECONDS full|resumed METHOD-AND-TARGET [HEADER …]

Eight connections at once. A connection counts when its reply is 2xx and its handshake was of the kind that was asked for; a resumed one
uses the ticket of the connection before. Prints the sums as JSON.
"""
import json
import socket
import ssl
import sys
import threading
import time

AT_ONCE = 8


class Load:
    def __init__(self, port, seconds, resumed, request):
        self.address, self.resumed, self.request = ("127.0.0.1", port), resumed, request
        self.end = time.monotonic() + seconds
        self.lock, self.counts = threading.Lock(), {"requests": 0, "bad": 0, "version": ""}

    def context(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def exchange(self, context, session):
        """One connection; whether it was good, and its ticket."""
        with socket.create_connection(self.address, 10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as stream:
                stream.sendall(self.request)
                reply = bytearray()
                while piece := stream.recv(65536):
                    reply += piece
                wanted = self.resumed and session is not None
                self.counts["version"] = stream.version()
                return reply.startswith(b"HTTP/1.1 2") and stream.session_reused == wanted, stream.session

    def run(self):
        context, session, good, bad = self.context(), None, 0, 0
        while time.monotonic() < self.end:
            try:
                is_good, ticket = self.exchange(context, session)
            except OSError:
                is_good, ticket = False, None
            session = ticket if self.resumed else None
            good, bad = good + is_good, bad + (not is_good)
        with self.lock:
            self.counts["requests"] += good
            self.counts["bad"] += bad


def main():
    port, seconds, kind, target, *headers = sys.argv[1:]
    lines = [f"{target} HTTP/1.1", "Host: localhost", *headers, "Connection: close", "", ""]
    load = Load(int(port), float(seconds), kind == "resumed", "\r\n".join(lines).encode())
    threads = [threading.Thread(target=load.run) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(load.counts))


if __name__ == "__main__":
    main()
