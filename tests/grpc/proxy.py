"""The proxy of these checks: listeners with and without TLS, certificates, tokens."""

import base64
import json
import subprocess
import time

import kit

BASIC = ("authorization", "Basic " + base64.b64encode(b"u:p").decode())


def openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.decode()}")
    return done.stdout


class Certificate:
    """A certificate of `localhost` and its authority."""

    def __init__(self):
        place = kit.folder("certificate")
        self.ca, self.cert, self.key = place / "ca.pem", place / "cert.pem", place / "key.pem"
        ca_key, request, names = place / "ca-key.pem", place / "request.pem", place / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        key = ("-newkey", "rsa:2048", "-nodes")
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=authority", "-keyout", ca_key, "-out", self.ca,
                "-addext", "keyUsage=critical,keyCertSign")
        openssl("req", *key, "-subj", "/CN=localhost", "-keyout", self.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-set_serial", "2", "-days", "2",
                "-extfile", names, "-out", self.cert)


class Signer:
    """Signs tokens by RS256."""

    def __init__(self):
        self.key = kit.folder("signer") / "key.pem"
        openssl("genrsa", "-out", self.key, "2048")
        self.public = openssl("rsa", "-in", self.key, "-pubout").decode()

    def token(self, lifetime=600):
        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
        claims = {"exp": int(time.time()) + lifetime, "vm_access": {}}
        signed = part({"alg": "RS256", "typ": "JWT"}) + b"." + part(claims)
        signature = openssl("dgst", "-sha256", "-sign", self.key, stdin=signed)
        return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


class Proxy(kit.Process):
    """vmauth with one listener; `certificate` for TLS, else HTTP/2 by prior knowledge."""

    def __init__(self, config, *flags, certificate=None):
        path = kit.folder("config") / "auth.yml"
        # JSON is YAML.
        path.write_text(json.dumps(config))
        listener = ["-http2.h2c"]
        if certificate:
            listener = ["-tls", f"-tlsCertFile={certificate.cert}", f"-tlsKeyFile={certificate.key}"]
        super().__init__(
            "vmauth", kit.Vmauth.binary, f"-auth.config={path}", "-httpListenAddr=127.0.0.1:0", "-workers=1", *listener, *flags
        )
        self.port = int(self.wait_log(r"started server at https?://127\.0\.0\.1:(\d+)/").group(1))

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"


def basic_user(**fields):
    return {"users": [{"username": "u", "password": "p", "access_log": {}, **fields}]}
