"""Serves ACMEEH over TLS; needs Python 3.12 and the package `acmeeh`.

    serve_acmeeh.py CONFIG CERTIFICATE KEY PORT

The package's own servers have no TLS, or none that ends with its process. Every `.example` name is at 127.0.0.1, since ACMEEH asks
the system's resolver. ACMEEH 2.1 looks renewal information up by a text of its own where RFC 9773 §4.1 has two encoded parts
and a point: paths of the latter form are rewritten into the former.
"""
import base64
import socket
import sys

from acmeeh.app import create_app
from acmeeh.app.factory import start_workers
from acmeeh.config import AcmeehConfig
from acmeeh.db import init_database
from acmeeh.logging import configure_logging
from werkzeug.serving import make_server

RENEWAL_INFO = "/renewalInfo/"
system_lookup = socket.getaddrinfo


def lookup(host, *rest, **named):
    return system_lookup("127.0.0.1" if str(host).endswith(".example") else host, *rest, **named)


def with_standard_identifiers(app):
    def serve(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith(RENEWAL_INFO) and "." in path:
            issuer, serial = path.removeprefix(RENEWAL_INFO).split(".", 1)
            number = int.from_bytes(base64.urlsafe_b64decode(serial + "=="), "big")
            own = base64.urlsafe_b64encode(f"{issuer}.{number:x}".encode()).decode().rstrip("=")
            environ["PATH_INFO"] = RENEWAL_INFO + own
        return app(environ, start_response)

    return serve


def main():
    config_file, certificate, key, port = sys.argv[1:]
    socket.getaddrinfo = lookup
    config = AcmeehConfig(config_file=config_file, schema_file="bundled")
    configure_logging(config.settings.logging)
    app = create_app(config=config, database=init_database(config.settings.database))
    start_workers(app)
    server = make_server("127.0.0.1", int(port), with_standard_identifiers(app), threaded=True, ssl_context=(certificate, key))
    server.serve_forever()


if __name__ == "__main__":
    main()
