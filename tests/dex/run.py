#!/usr/bin/env python3
"""docs/providers/dex.md with Dex itself: its config of the proxy, its settings of Dex, the claims it shows, and the real agent.

    run.py [VMAUTH [VMAGENT]]          target/release/… by default

Builds Dex by `go build`, in target/dex-tools, with the versions of go.mod beside this file. One line a check; ends with `N passed, N failed`, and
with status 1 if anything failed. Not in `.ci/run`, because the build takes longer than all that is checked; the page is run there with a stand-in.
"""

import json
import os
import re
import subprocess
import sys
import traceback
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "real"), str(HERE.parent)]

import kit  # noqa: E402
from book.pages import blocks  # noqa: E402

PAGE = ROOT / "docs" / "providers" / "dex.md"
ISSUER = "https://dex.example.com/dex"
# bcrypt of the page's password, `secret`.
HASH = "$2a$10$O4OMqZW1Xc2PAC8y0T/6OOT/JzGRk1BBjV0JkAH3azUK6ph0W8zES"
# Whose token is let in, and as which tenant.
PEOPLE = {
    "alice@example.com": ({"groups": ["example:sre", "example:all"]}, "1:0"),
    "bob@example.com": ({"groups": ["example:all"]}, "2:0"),
    "mallory@example.com": ({"groups": ["example:sre"], "emailVerified": False}, None),
    "eve@elsewhere.example": ({}, None),
}


def built():
    """The program, built where .gitignore does not see it."""
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "dex-tools" / "dex"
    program.parent.mkdir(parents=True, exist_ok=True)
    # Storage in memory needs no SQLite, and so no C compiler.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    subprocess.run(["go", "build", "-o", program, "github.com/dexidp/dex/cmd/dex"], cwd=HERE, check=True, env=environment)
    return program


class Dex:
    """Dex with the page's settings. Its keys are in memory, so a restart replaces them all."""

    def __init__(self, program, settings):
        self.program, self.port = program, kit.free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/dex"
        people = [{"email": email, "hash": HASH, "username": email, "name": email, "userID": email, "emailVerified": True, **more}
                  for email, (more, _) in PEOPLE.items()]
        own = {"issuer": self.issuer, "storage": {"type": "memory"}, "web": {"http": f"127.0.0.1:{self.port}"}, "enablePasswordDB": True,
               "staticPasswords": people}
        stranger = "- {id: other, name: other, secret: secret, redirectURIs: ['http://127.0.0.1/']}\n"
        self.path = kit.folder("dex") / "dex.yml"
        # YAML takes JSON as it is; `staticClients` is last on the page.
        self.path.write_text(settings + stranger + "".join(f"{key}: {json.dumps(value)}\n" for key, value in own.items()))
        self.start()

    def start(self):
        self.process = kit.Process("dex", self.program, "serve", self.path)
        self.process.wait_log("listening on.*server=http")

    def restart(self):
        self.process.stop()
        self.start()

    def token(self, client, secret, **form):
        headers = {**kit.basic(client, secret), "Content-Type": "application/x-www-form-urlencoded"}
        reply = kit.request("POST", f"{self.issuer}/token", headers, urllib.parse.urlencode(form))
        if reply.status != 200:
            raise RuntimeError(f"no token for {client}: {reply.status} {reply.text()}")
        return reply.json()

    def person(self, email, client="vmauth", kind="id_token"):
        return self.token(client, "secret", grant_type="password", scope="openid profile groups email", username=email, password="secret")[kind]

    def agent(self):
        return self.token("vmagent", "agent-secret", grant_type="client_credentials", scope="openid groups")["access_token"]


def people(dex, proxy, store):
    def read(token):
        before = len(store.requests)
        status = kit.request("GET", proxy.url + "/api/v1/labels", kit.bearer(token)).status
        return status, store.paths()[before:]

    for email, (_, tenant) in PEOPLE.items():
        wanted = (204, [f"/select/{tenant}/prometheus/api/v1/labels"]) if tenant else (401, [])
        for kind in ("id_token", "access_token"):
            found = read(dex.person(email, kind=kind))
            kit.check(f"{email}, {kind}: {f'reads tenant {tenant}' if tenant else 'is refused'}", found == wanted, (found, proxy.log()[-800:]))
    found = read(dex.person("alice@example.com", client="other"))
    kit.check("a token for another client is refused", found == (401, []), found)
    dex.restart()
    found = read(dex.person("alice@example.com"))
    kit.check("all keys replaced: the first token of a new one is believed", found[0] == 204, (found, proxy.log()[-800:]))


def shown(page, dex):
    """The claims of the page are those of Dex."""
    tokens = {"a person": dex.person("alice@example.com"), "an agent": dex.agent()}
    for (name, token), block in zip(tokens.items(), [block for block in page if block.info == "json token"], strict=True):
        claims, real = json.loads(block.text), kit.token_part(token, 1)
        kit.check(f"the token of {name} has the claims of the page", claims.keys() == real.keys(), (sorted(claims), sorted(real)))
        kit.check(f"{name}: of the kinds of the page", all(isinstance(real[key], type(value)) for key, value in claims.items()), real)


def agent(dex, proxy, store, program):
    """The flags of the page in the real agent."""
    [command] = re.findall(r"(?m)^vmagent (.*)$", PAGE.read_text())
    place = kit.folder("agent")
    (place / "client-secret").write_text("agent-secret")
    (place / "scrape.yml").write_text("scrape_configs:\n- job_name: self\n  scrape_interval: 1s\n  static_configs: [{targets: ['%s']}]\n" % proxy.url.removeprefix("http://"))
    places = {"http://127.0.0.1:8427": proxy.url, ISSUER: dex.issuer, "=client-secret": f"={place}/client-secret"}
    for theirs, ours in places.items():
        command = command.replace(theirs, ours)
    process = kit.Process("vmagent", program, *command.replace("'", "").split(), f"-promscrape.config={place}/scrape.yml",
                          f"-remoteWrite.tmpDataPath={place}/queue", f"-httpListenAddr=127.0.0.1:{kit.free_port()}")
    wanted = "/insert/1:0/prometheus/api/v1/write"
    try:
        kit.wait_for("samples of the agent", lambda: store.paths().count(wanted) > 1)
        kit.check("the agent writes with its token, to its tenant", True)
    except TimeoutError:
        kit.check("the agent writes with its token, to its tenant", False, (store.paths()[-3:], process.log()[-1500:], proxy.log()[-800:]))
    reply = kit.request("GET", proxy.url + "/api/v1/labels", kit.bearer(dex.agent()))
    kit.check("and reads nothing", reply.status == 400 and "user agents missing route" in reply.text(), (reply.status, reply.text()))
    kit.check("the agent ends in order", process.stop() == 0, process.log()[-1500:])


def main():
    release = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    programs = [Path(sys.argv[place]) if len(sys.argv) > place else release / name for place, name in enumerate(("vmauth", "vmagent"), 1)]
    for program in programs:
        if not program.exists():
            raise SystemExit(f"no program at {program}")
    kit.leave_cleanly_on_signals()
    try:
        page = blocks(PAGE.read_text())
        dex = Dex(built(), next(block.text for block in page if block.info == "text"))
        store = kit.Store()
        config = next(block.text for block in page if block.info == "yaml").replace(ISSUER, dex.issuer)
        kit.Vmauth.binary = programs[0].resolve()
        proxy = kit.Vmauth(re.sub(r"http://vm(select|insert):\d+", store.url, config))
        for part in (lambda: people(dex, proxy, store), lambda: shown(page, dex), lambda: agent(dex, proxy, store, programs[1].resolve())):
            try:
                part()
            except Exception:
                kit.check("a part of the run", False, traceback.format_exc())
        return kit.summary()
    finally:
        kit.clean_up()


if __name__ == "__main__":
    raise SystemExit(main())
