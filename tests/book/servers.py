"""What a page's config talks to: backends that answer with what they got, and identity providers with keys of their own.

Each `scheme://host:port` that a page names is a server on a port of the kernel's choice, and keeps the page's name for what it was sent.
"""

import base64
import hashlib
import http.server
import json
import re
import secrets
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

from blackbox.report import wait_for


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, capture_output=True).stdout


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """An RSA key that signs tokens."""

    def __init__(self, folder: Path, kid: str):
        self.kid, self.path = kid, folder / f"{kid}.pem"
        openssl("genrsa", "-out", str(self.path), "2048")
        self.public = openssl("rsa", "-in", str(self.path), "-pubout").decode()
        modulus = openssl("rsa", "-in", str(self.path), "-noout", "-modulus").decode().strip().partition("=")[2]
        self.jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": b64url(bytes.fromhex(modulus)), "e": "AQAB"}

    def sign(self, claims, **header):
        parts = [b64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT", "kid": self.kid} | header, claims)]
        signed = ".".join(parts)
        return f"{signed}.{b64url(openssl('dgst', '-sha256', '-sign', str(self.path), data=signed.encode()))}"


class Certificate:
    """One of loopback that its holders trust."""

    def __init__(self, folder: Path):
        self.cert, self.key = folder / "loopback.crt", folder / "loopback.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=loopback",
                "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(self.key), "-out", str(self.cert))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, self.key)


class Server:
    """One host of a page. `requests` has a pair of URL by the page's name and headers for each request that is not the provider's business."""

    def __init__(self, name, page):
        self.name, self.page, self.requests, self.codes = name, page, [], {}
        handler = type("Handler", (_Handler,), {"server_of_page": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        if name.startswith("https"):
            self.server.socket = page.certificate.context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{name.partition(':')[0]}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if location := self.login():
            self.answer(302, "", {"Location": location})
        else:
            self.answer(*self.reply(self.body()))

    do_POST = do_PUT = do_DELETE = do_GET

    def login(self):
        """Where the provider's login sends a browser whose person is logged in already, RFC 6749 section 4.1.2; None for other paths."""
        path, _, query = self.path.partition("?")
        if not path.endswith("/auth") or "response_type=code" not in query:
            return None
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        code = secrets.token_urlsafe()
        self.server_of_page.codes[code] = asked
        return f"{asked['redirect_uri']}?{urllib.parse.urlencode({'code': code, 'state': asked['state']})}"

    def logged_in(self, form):
        """The answer to a code: refused when this is not the client that asked for it (RFC 7636)."""
        asked = self.server_of_page.codes.pop(form["code"][0], {})
        challenge = b64url(hashlib.sha256(form["code_verifier"][0].encode()).digest())
        if (asked.get("code_challenge"), asked.get("redirect_uri")) != (challenge, form["redirect_uri"][0]) or "openid" not in asked["scope"]:
            return 400, json.dumps({"error": "invalid_grant"})
        page = self.server_of_page.page
        token = page.key.sign(fresh(page.shown | {name: asked[name] for name in ("nonce",) if name in asked}))
        return 200, json.dumps({"access_token": "opaque", "id_token": token, "token_type": "Bearer", "expires_in": 300})

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()
        return b""

    def reply(self, body):
        server, path = self.server_of_page, self.path.partition("?")[0]
        if path.endswith("/.well-known/openid-configuration"):
            base = server.url + path.removesuffix("/.well-known/openid-configuration")
            issuer = next((i for i in server.page.issuers if i.rstrip("/") == base), base)
            return 200, json.dumps({"issuer": issuer, "jwks_uri": f"{server.url}/keys", "token_endpoint": f"{base}/token",
                                    "authorization_endpoint": f"{base}/auth", "code_challenge_methods_supported": ["S256"]})
        if path == "/keys" or path.endswith("/jwks"):
            return 200, json.dumps({"keys": [server.page.key.jwk]})
        if path.endswith("/identity"):
            return 200, server.page.token
        if path.endswith("/token") and self.command == "POST":
            form = urllib.parse.parse_qs(body.decode())
            if problem := _wrong_with_request_of_token(path, form, self.headers):
                return 400, json.dumps({"error": "invalid_request", "error_description": problem})
            if "code" in form:
                return self.logged_in(form)
            return 200, json.dumps({"access_token": server.page.token, "id_token": server.page.token, "token_type": "Bearer", "expires_in": 300})
        server.requests.append((server.name + self.path, self.headers))
        return 200, f"{self.command} {server.name}{self.path}\n"

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def _wrong_with_request_of_token(path, form, headers):
    """What providers with such a path want in a request of a token, RFC 6749 section 4.4 and their own."""
    if form.get("grant_type", [""])[0] not in ("client_credentials", "password", "authorization_code"):
        return "no grant_type"
    if "Authorization" not in headers and not {"client_id", "client_secret"} <= form.keys():
        return "no client"
    if path.endswith("/oauth/token") and "audience" not in form:
        return "Auth0 makes opaque tokens without an audience"
    if "/oauth2/" in path and "scope" not in form:
        return "Entra ID and Okta want a scope"
    return None


class Nginx:
    """nginx with the `server` of a page; its port becomes a free one."""

    def __init__(self, folder: Path):
        server = (folder / "nginx.conf").read_text()
        port = int(re.search(r"listen (\d+);", server)[1])
        for _ in range(20):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.ports = {port: free.getsockname()[1]}
            text = server.replace(f"listen {port};", f"listen 127.0.0.1:{self.ports[port]};")
            (folder / "whole.conf").write_text(_NGINX % text)
            self.process = subprocess.Popen(["nginx", "-p", str(folder), "-c", "whole.conf", "-e", "stderr"], stderr=subprocess.PIPE, text=True)
            wait_for("nginx", lambda: self.process.poll() is not None or _accepts(self.ports[port]), patience=60)
            if self.process.poll() is None:
                return
        raise OSError(f"nginx does not start: {self.process.stderr.read()}")

    def log(self):
        return "(nginx)"

    def stop(self):
        self.process.terminate()
        self.process.communicate()


_NGINX = """daemon off; pid nginx.pid; user root; error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    %s
}
"""


def _accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def fresh(claims):
    """Claims of a page with dates of today."""
    now = int(time.time())
    return claims | {name: value for name, value in {"exp": now + 3600, "iat": now, "nbf": now, "auth_time": now}.items() if name in claims or name == "exp"}
