"""The official interoperability tests of gRPC: client and server of google.golang.org/grpc.

All cases but those that need credentials of Google's cloud, and three that this server does not pass without a proxy
either: pick_first_unary, orca_per_rpc and orca_oob.
"""

import socket
import subprocess

import kit
from proxy import BASIC, Certificate, Proxy, Signer, basic_user

TOOLS = None

CASES = (
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
    "timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
    "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service", "rpc_soak", "channel_soak",
)


class Server(kit.Process):
    def __init__(self, certificate=None):
        self.port = kit.free_port()
        tls = ["-use_tls", "-tls_cert_file", certificate.cert, "-tls_key_file", certificate.key] if certificate else []
        super().__init__("server", TOOLS / "server", "-port", self.port, *tls)
        kit.wait_for("the server", lambda: is_open(self.port))


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run_all(name, proxy, authorization, certificate=None):
    def start(case):
        tls = ["-use_tls", "-use_test_ca", "-ca_file", certificate.ca, "-server_host_override", "localhost"] if certificate else []
        command = [
            TOOLS / "client", "-server_host", "127.0.0.1", "-server_port", proxy.port, "-test_case", case,
            "-additional_metadata", f"authorization:{authorization}", *tls,
        ]
        return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running = {}
    for case in CASES:
        running[case] = start(case)
        # A few at once: they share the connection to the backend.
        if len(running) == 5 or case == CASES[-1]:
            for each, process in running.items():
                try:
                    output, _ = process.communicate(timeout=180)
                except subprocess.TimeoutExpired:
                    process.kill()
                    output = "no end: " + process.communicate()[0]
                kit.check(f"interop {name}: {each}", process.returncode == 0, output[-2000:] + proxy.log()[-3000:])
            running = {}


def over_h2c():
    server = Server()
    proxy = Proxy(basic_user(url_prefix=f"h2c://127.0.0.1:{server.port}"))
    run_all("h2c", proxy, BASIC[1])


def over_tls_with_tokens():
    certificate, signer = Certificate(), Signer()
    server = Server(certificate)
    user = {
        "name": "token",
        "jwt": {"public_keys": [signer.public]},
        "url_map": [{"src_paths": ["/grpc.testing.TestService/.*", "/grpc.testing.UnimplementedService/.*"],
                     "url_prefix": f"https://localhost:{server.port}"}],
        "tls_ca_file": str(certificate.ca),
    }
    proxy = Proxy({"users": [user]}, certificate=certificate)
    run_all("TLS", proxy, "Bearer " + signer.token(), certificate)


def over_forced_http2_in_tls():
    certificate = Certificate()
    server = Server(certificate)
    fields = {"url_prefix": f"h2://localhost:{server.port}", "tls_ca_file": str(certificate.ca)}
    proxy = Proxy(basic_user(**fields), "-backend.http2.disable")
    run_all("h2c to h2", proxy, BASIC[1])


PARTS = (over_h2c, over_tls_with_tokens, over_forced_http2_in_tls)
