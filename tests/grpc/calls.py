"""Calls of PyPI's grpcio and of grpcurl: refusals, streams in both directions, deadlines, cancellation, failures."""

import subprocess
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import kit
from proxy import BASIC, Proxy, Signer, basic_user

TOOLS = None
PATIENCE = 20


class Server:
    """A service of bytes: `Echo` answers each message, `Greet` speaks first, `Hang` waits until its client is gone."""

    def __init__(self):
        self.gone = threading.Event()
        self.hanging = threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        handlers = {
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "Greet": grpc.stream_stream_rpc_method_handler(self.greet),
            "Hang": grpc.unary_stream_rpc_method_handler(self.hang),
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Many": grpc.unary_stream_rpc_method_handler(self.many),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), self.server)
        names = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def echo(self, requests, _context):
        yield from requests

    def greet(self, requests, context):
        context.send_initial_metadata((("x-hello", "there"),))
        yield b"hello"
        for request in requests:
            yield request
        context.set_trailing_metadata((("x-sum", "7"), ("x-raw-bin", b"\x00\xff")))

    def hang(self, _request, context):
        context.add_callback(self.gone.set)
        yield b"first"
        self.hanging.set()
        self.gone.wait(PATIENCE)

    def unary(self, request, context):
        context.set_trailing_metadata((("x-time", str(int(context.time_remaining() or 0))),))
        return request

    def many(self, request, _context):
        for _ in range(int(request)):
            yield b"x" * 50_000

    def url(self):
        return f"h2c://127.0.0.1:{self.port}"


def code(call):
    try:
        call()
        return None, ""
    except grpc.RpcError as error:
        return error.code(), error.details()


def expect(name, call, want, text=""):
    got = code(call)
    kit.check(f"grpcio: {name}", got[0] == want and text in (got[1] or ""), got)


def refusals():
    server = Server()
    routes = [
        {"src_paths": ["/test.Service/.*"], "url_prefix": server.url(), "deny_paths": ["/test.Service/Hang"]},
        {"src_paths": ["/down.Service/.*"], "url_prefix": f"h2c://127.0.0.1:{kit.free_port()}"},
    ]
    proxy = Proxy(basic_user(url_map=routes, max_concurrent_requests=1), "-maxQueueDuration=3s")
    with grpc.insecure_channel(proxy.target) as channel:
        def unary(path, metadata=(BASIC,)):
            return lambda: channel.unary_unary(path)(b"a", metadata=metadata, timeout=PATIENCE)
        status = grpc.StatusCode
        expect("no credentials", unary("/test.Service/Unary", ()), status.UNAUTHENTICATED, "missing 'Authorization'")
        wrong = (("authorization", "Basic dTpx"),)
        expect("wrong credentials", unary("/test.Service/Unary", wrong), status.UNAUTHENTICATED, "Unauthorized")
        expect("no route", unary("/other.Service/Unary"), status.UNIMPLEMENTED, "missing route")
        expect("a denied path", unary("/test.Service/Hang"), status.PERMISSION_DENIED, "access to the path is denied")
        expect("a backend that is down", unary("/down.Service/Unary"), status.UNAVAILABLE, "all the 1 backends")
        held = channel.unary_stream("/test.Service/Many")(b"1000", metadata=(BASIC,), timeout=PATIENCE)
        next(held)
        expect("the limit of the user", unary("/test.Service/Unary"), status.UNAVAILABLE, "1 concurrent requests")
        held.cancel()
        kit.check("grpcio: a call after all of these", code(unary("/test.Service/Unary"))[0] is None, proxy.log()[-2000:])
    proxy.stop()


def streams():
    server = Server()
    proxy = Proxy(basic_user(url_prefix=server.url()))
    with grpc.insecure_channel(proxy.target) as channel:
        never = threading.Event()

        def silent():
            never.wait(PATIENCE)
            yield b"late"
        # The server speaks first, and the client has not sent a byte.
        call = channel.stream_stream("/test.Service/Greet")(silent(), metadata=(BASIC,), timeout=PATIENCE)
        hello = dict(call.initial_metadata()).get("x-hello")
        kit.check("grpcio: the server speaks first", (hello, next(call)) == ("there", b"hello"), hello)
        never.set()
        kit.check("grpcio: the client goes on", next(call) == b"late")
        rest = list(call)
        trailing = dict(call.trailing_metadata())
        kit.check("grpcio: trailers", (rest, trailing.get("x-sum"), trailing.get("x-raw-bin")) == ([], "7", b"\x00\xff"), trailing)

        # Each message is sent when the one before has come back.
        back = threading.Semaphore(1)

        def turns():
            for n in range(200):
                if not back.acquire(timeout=PATIENCE):
                    return
                yield b"%d" % n
        echoed = []
        for message in channel.stream_stream("/test.Service/Echo")(turns(), metadata=(BASIC,), timeout=PATIENCE):
            echoed.append(message)
            back.release()
        kit.check("grpcio: 200 messages in turns", echoed == [b"%d" % n for n in range(200)], len(echoed))

        pieces = [bytes([n]) * 60_000 for n in range(100)]
        call = channel.stream_stream("/test.Service/Echo")(iter(pieces), metadata=(BASIC,), timeout=PATIENCE)
        kit.check("grpcio: 6 MB in both directions", list(call) == pieces)
        total = sum(map(len, channel.unary_stream("/test.Service/Many")(b"400", metadata=(BASIC,), timeout=PATIENCE)))
        kit.check("grpcio: 20 MB from the server", total == 20_000_000, total)
    proxy.stop()


def ends():
    server = Server()
    proxy = Proxy(basic_user(url_prefix=server.url()))
    with grpc.insecure_channel(proxy.target) as channel:
        call = channel.unary_unary("/test.Service/Unary").with_call(b"a", metadata=(BASIC,), timeout=100)[1]
        seen = int(dict(call.trailing_metadata())["x-time"])
        kit.check("grpcio: the server knows the deadline", 90 <= seen <= 100, seen)

        def hang(timeout):
            server.gone.clear()
            server.hanging.clear()
            call = channel.unary_stream("/test.Service/Hang")(b"", metadata=(BASIC,), timeout=timeout)
            next(call)
            return call
        call = hang(PATIENCE)
        server.hanging.wait(PATIENCE)
        call.cancel()
        kit.check("grpcio: a cancelled call ends at the server", server.gone.wait(PATIENCE))
        call = hang(5)
        expect("a deadline that passes", lambda: list(call), grpc.StatusCode.DEADLINE_EXCEEDED)
        kit.check("grpcio: and ends at the server", server.gone.wait(PATIENCE))

        signer = Signer()
        tokens = Proxy({"users": [{"name": "t", "jwt": {"public_keys": [signer.public]}, "url_prefix": server.url()}]})
        with grpc.insecure_channel(tokens.target) as other:
            server.gone.clear()
            bearer = ("authorization", "Bearer " + signer.token(lifetime=6))
            call = other.unary_stream("/test.Service/Hang")(b"", metadata=(bearer,), timeout=PATIENCE)
            expect("a token that expires during the call", lambda: list(call), grpc.StatusCode.UNAUTHENTICATED, "no longer valid")
            kit.check("grpcio: and that ends at the server", server.gone.wait(PATIENCE))
        tokens.stop()

        call = hang(PATIENCE)
        server.server.stop(0)
        ended = code(lambda: list(call))
        want = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        kit.check("grpcio: a server that stops in the middle", ended[0] in want, ended)
        expect("and is not there afterwards", lambda: channel.unary_unary("/test.Service/Unary")(b"", metadata=(BASIC,), timeout=PATIENCE),
               grpc.StatusCode.UNAVAILABLE)
    proxy.stop()


def grpcurl():
    server = Server()
    proxy = Proxy(basic_user(url_prefix=server.url()))

    def run(*args):
        command = [TOOLS / "grpcurl", "-plaintext", "-max-time", "60", "-H", f"Authorization: {BASIC[1]}", proxy.target, *args]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout + done.stderr
    kit.check("grpcurl: list by reflection", "grpc.health.v1.Health" in run("list"), run("list"))
    answer = run("grpc.health.v1.Health/Check")
    kit.check("grpcurl: a call", "SERVING" in answer, answer)
    proxy.stop()


PARTS = (refusals, streams, ends, grpcurl)
