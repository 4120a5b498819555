"""Two identity providers that others wrote, behind one face: Keycloak, and oidc-provider from npm.

A provider has the clients of the guide's realm file. Each can be changed while it runs: secret, claim, lifetime and algorithm of
tokens, tenant; so can the keys, and the provider itself can go away, come back, and hang.
"""

import copy
import json
import os
import shutil
import signal
import time
import urllib.parse
from pathlib import Path

import kit

GUIDE = Path(__file__).resolve().parents[3] / "examples" / "guide"
LIFETIME = 15
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class Provider:
    """What scenarios ask of either. `clients` are ids with their secrets."""

    name = issuer = token_url = ""
    # What a refused client is told.
    refusal = "invalid_client"

    def __init__(self):
        self.realm = json.loads((GUIDE / "realm.json").read_text())
        self.realm["accessTokenLifespan"] = LIFETIME
        self.clients = {client["clientId"]: client["secret"] for client in self.realm["clients"]}
        self.process = None

    def token_reply(self, client, in_body=False):
        form, headers = {"grant_type": "client_credentials", "scope": "openid"}, {}
        if in_body:
            form.update(client_id=client, client_secret=self.clients[client])
        else:
            headers = kit.basic(client, self.clients[client])
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return kit.request("POST", self.token_url, headers, urllib.parse.urlencode(form))

    def token(self, client, in_body=False):
        reply = self.token_reply(client, in_body)
        if reply.status != 200:
            raise RuntimeError(f"no token: {reply.status} {reply.text()}")
        return reply.json()["access_token"]

    def stop(self):
        self.process.stop(60)

    def hang(self):
        """Takes connections and answers nothing."""
        self.process.signal(signal.SIGSTOP)

    def go_on(self):
        self.process.signal(signal.SIGCONT)

    def is_up(self):
        try:
            return kit.request("GET", self.issuer + "/.well-known/openid-configuration", patience=5).status == 200
        except OSError:
            return False


class _Java(kit.Process):
    group = True


class Keycloak(Provider):
    """Keycloak itself, from an unpacked distribution; a run begins with the realm file and nothing else."""

    name = "keycloak"
    # Up to a minute alone, longer beside a build.
    PATIENCE = 240

    def __init__(self, home):
        super().__init__()
        self.home, self.port = Path(home), kit.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = self.url + "/realms/vm"
        self.token_url = self.issuer + "/protocol/openid-connect/token"
        self.admin_url = self.url + "/admin/realms/vm"
        self._token, self._accounts = ("", 0.0), {}
        data = self.home / "data"
        shutil.rmtree(data, ignore_errors=True)
        (data / "import").mkdir(parents=True)
        (data / "tmp").mkdir()
        (data / "import" / "realm.json").write_text(json.dumps(self.realm))

    def start(self):
        """Returns while it is starting; `wait` until it answers."""
        self.process = _Java(
            self.name, self.home / "bin" / "kc.sh", "start-dev", f"--http-port={self.port}", "--http-host=127.0.0.1",
            "--hostname-strict=false", "--import-realm",
            environment={"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": "admin",
                         # Starts sooner; nothing here runs long enough for the better compiler. Its cache stays here.
                         "JAVA_OPTS_APPEND": f"-XX:TieredStopAtLevel=1 -Djava.io.tmpdir={(self.home / 'data/tmp').resolve()}"},
        )

    def wait(self):
        try:
            kit.wait_for("Keycloak", self.is_up, self.PATIENCE, 0.2)
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self.process.log()[-3000:]}") from None

    def _admin_token(self):
        # The login is slow on purpose, so it is done once a minute.
        token, until = self._token
        if time.monotonic() > until:
            form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
            reply = kit.request("POST", self.url + "/realms/master/protocol/openid-connect/token",
                                {"Content-Type": "application/x-www-form-urlencoded"}, urllib.parse.urlencode(form))
            token, until = reply.json()["access_token"], time.monotonic() + reply.json()["expires_in"] - 20
            self._token = token, until
        return token

    def admin(self, method, path, body=None):
        headers = {"Content-Type": "application/json", **kit.bearer(self._admin_token())}
        reply = kit.request(method, path if path.startswith("http") else self.admin_url + path, headers, body and json.dumps(body))
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.text()}")
        return json.loads(reply.body) if reply.body else reply

    def _client(self, client):
        return self.admin("GET", f"/clients?clientId={client}")[0]

    def _account(self, client):
        if client not in self._accounts:
            self._accounts[client] = self.admin("GET", f"/clients/{self._client(client)['id']}/service-account-user")
        return self._accounts[client]

    def _change(self, client, **changes):
        now = self._client(client)
        attributes = {**now["attributes"], **changes.pop("attributes", {})}
        self.admin("PUT", f"/clients/{now['id']}", {**now, **changes, "attributes": attributes})

    def add_client(self, client, like, lifetime=LIFETIME):
        """A client like one of the realm file."""
        new = copy.deepcopy(next(each for each in self.realm["clients"] if each["clientId"] == like))
        self.admin("POST", "/clients", {**new, "clientId": client, "attributes": {"access.token.lifespan": str(lifetime)}})
        self.clients[client] = new["secret"]

    def set_claim(self, client, text):
        """The value of the claim as JSON or text, as the client's mapper makes it; `None` takes it away."""
        user = self._account(client)
        user["attributes"] = {} if text is None else {"vm_access": [text]}
        self.admin("PUT", f"/users/{user['id']}", user)

    def set_lifetime(self, client, seconds):
        self._change(client, attributes={"access.token.lifespan": str(seconds)})

    def set_algorithm(self, client, algorithm):
        self._change(client, attributes={"access.token.signed.response.alg": algorithm})

    def set_secret(self, client, secret):
        self._change(client, secret=secret)
        self.clients[client] = secret

    def rotate(self):
        """A new key signs; what it replaces is published until `retire`."""
        realm = self.admin("GET", self.admin_url)
        keys = self.admin("GET", f"/components?parent={realm['id']}&type=org.keycloak.keys.KeyProvider")
        ours = [key for key in keys if key["config"].get("algorithm", ["RS256"]) == ["RS256"] and key["providerId"] == "rsa-generated"]
        priority = max(int(key["config"].get("priority", ["0"])[0]) for key in ours) + 100
        self.admin("POST", "/components", {
            "name": f"signs-{priority}", "providerType": "org.keycloak.keys.KeyProvider", "providerId": "rsa-generated",
            "parentId": realm["id"],
            "config": {"priority": [str(priority)], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]},
        })
        return [key["id"] for key in ours]

    def retire(self, keys):
        for key in keys:
            self.admin("DELETE", f"/components/{key}")


class Npm(Provider):
    """oidc-provider, with the clients of the realm file."""

    name = "oidc-provider"

    def __init__(self):
        super().__init__()
        self.port = kit.free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.token_url = self.issuer + "/token"
        self.place = kit.folder("provider")
        self.keys = ["a"]
        accounts = {user["serviceAccountClientId"]: user["attributes"]["vm_access"][0] for user in self.realm["users"]}
        self.settings = {}
        for client in self.realm["clients"]:
            name = client["clientId"]
            is_json = client["protocolMappers"][0]["config"]["jsonType.label"] == "JSON"
            self.settings[name] = {"secret": client["secret"], "ttl": LIFETIME, "is_json": is_json}
            self._claim(name, accounts[name])

    def start(self):
        path = self.place / "settings.json"
        path.write_text(json.dumps({"port": self.port, "keys_dir": str(self.place), "keys": self.keys, "clients": self.settings}))
        self.process = kit.Process(self.name, "node", kit.HERE / "provider" / "provider.mjs", path)

    def wait(self):
        kit.wait_for("provider", self.is_up)

    def _claim(self, client, text):
        settings = self.settings[client]
        value = json.loads(text) if settings["is_json"] and text is not None else text
        settings["claims"] = {} if text is None else {"vm_access": value}

    def _publish(self):
        for path, what in (("/test/keys", self.keys), ("/test/clients", self.settings)):
            reply = kit.request("PUT", self.issuer + path, {}, json.dumps(what))
            if reply.status != 204:
                raise RuntimeError(f"PUT {path}: {reply.status} {reply.text()}")

    def add_client(self, client, like, lifetime=LIFETIME):
        self.settings[client] = {**copy.deepcopy(self.settings[like]), "ttl": lifetime}
        self.clients[client] = self.settings[client]["secret"]
        self._publish()

    def set_claim(self, client, text):
        self._claim(client, text)
        self._publish()

    def set_lifetime(self, client, seconds):
        self.settings[client]["ttl"] = seconds
        self._publish()

    def set_algorithm(self, client, algorithm):
        self.settings[client]["alg"] = algorithm
        if algorithm != "RS256" and algorithm not in self.keys and not algorithm.startswith("HS"):
            self.keys.append(algorithm)
        self._publish()

    def set_secret(self, client, secret):
        self.settings[client]["secret"] = self.clients[client] = secret
        self._publish()

    def rotate(self):
        old = self.keys[0]
        self.keys.insert(0, f"key{len(os.listdir(self.place))}")
        self._publish()
        return [old]

    def retire(self, keys):
        self.keys = [key for key in self.keys if key not in keys]
        self._publish()
