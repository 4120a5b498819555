"""A program started with somebody's arguments: does it serve, answer probes, and end in order?"""

import socket
import ssl

import kit


def serves(url, path="/health"):
    try:
        return kit.request("GET", url + path, patience=2).status == 200
    except OSError:
        return False


def connects(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        return True


def speaks_tls(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain, context.wrap_socket(plain) as secured:
        return secured.version() is not None


def start(name, command, url, environment=None, path="/health"):
    """The running program, or its log as an error."""
    program = kit.Process(name, *command, environment=environment)
    try:
        kit.wait_for(f"health of {name}", lambda: serves(url, path) or program.child.poll() is not None)
    except TimeoutError as error:
        raise RuntimeError(f"{error}\n{program.log()}") from None
    if program.child.poll() is not None:
        raise RuntimeError(f"{name} ended with {program.child.returncode}:\n{program.log()}")
    return program


def errors(program):
    """Lines of the log that complain."""
    return [line for line in program.log().splitlines() if any(f"{mark}" in line for mark in ("\terror\t", "\tfatal\t", "\tpanic\t", '"level":"error"', '"level":"fatal"'))]
