"""The guide's parts together: a provider, vmauth, two agents, stores. Programs run with the files and arguments of examples/guide.

Addresses of the compose file are replaced by those of this run, intervals are shortened, and nothing else is changed.
"""

import re
import time

import kit
from prometheus import answers

from .providers import GUIDE
from .store import TenantStore

INTERVAL = 1000  # milliseconds between scrapes
UP = 'up{job=~"stat|neighbour"}'
# Twice as often as in the compose file, so that outages can be short.
QUICK = ("-remoteWrite.retryMaxInterval=2s", "-remoteWrite.flushInterval=500ms")


def compose_arguments(service):
    """The arguments of a service of the compose file."""
    text = (GUIDE / "compose.yaml").read_text()
    part = re.search(rf"(?ms)^  {service}:\n(.*?)(?=^  \w|^\w|\Z)", text).group(1)
    return re.findall(r"(?m)^      - (-\S+)$", part)


class Program(kit.Process):
    """vmauth or vmagent of this run."""

    binary = None

    def page(self, path="/metrics"):
        return kit.request("GET", self.url + path).text()

    def metric(self, name, **labels):
        """The sum of the samples that have these labels; 0 if there are none."""
        return sum(value for other, have, value in kit.parse_page(self.page())
                   if other == name and all(have.get(label) == value for label, value in labels.items()))


class Proxy(Program):
    def __init__(self, stack):
        self.url = "http://" + stack.places["vmauth:8427"]
        path = stack.folder / "auth.yml"
        path.write_text(stack.localised((GUIDE / "auth.yml").read_text()))
        # All clients here have one address, so their bad logins are one account.
        arguments = stack.arguments("vmauth", {"/etc/guide/": f"{stack.folder}/"}, f"-httpListenAddr={stack.places['vmauth:8427']}",
                                    "-maxFailedLoginsPerIP=100000")
        super().__init__("vmauth", self.binary, *arguments)
        self.wait_log("started server at")


class Agent(Program):
    def __init__(self, stack, client, place):
        self.client, self.port = client, stack.agent_ports[client]
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret_path = place / "client-secret"
        self.queue = place / "queue"
        if not self.secret_path.exists():
            self.secret_path.write_text(stack.provider.clients[client])
        scrape = stack.localised((GUIDE / "scrape.yml").read_text()).replace("scrape_interval: 10s", f"scrape_interval: {INTERVAL}ms")
        scrape += f"  - job_name: neighbour\n    static_configs: [{{targets: ['{stack.neighbour}']}}]\n"
        (place / "scrape.yml").write_text(scrape)
        arguments = stack.arguments("vmagent", {"/etc/guide/": f"{place}/", "/vmagent-remotewrite-data": str(self.queue)},
                                    f"-httpListenAddr=127.0.0.1:{self.port}", f"-remoteWrite.oauth2.clientID={client}", *QUICK)
        self.begun = time.time()
        super().__init__(client, self.binary, *arguments)
        kit.wait_for("health of the agent", lambda: answers(self.url + "/health"))


class Stack:
    """Everything of one run; scenarios change it and leave it working."""

    def __init__(self, provider, report):
        self.provider, self.report = provider, report
        self.folder = kit.folder("guide")
        self.store = TenantStore()
        self.agent_ports = {client: kit.free_port() for client in provider.clients}
        self.places = {
            "http://keycloak:3001/realms/vm/protocol/openid-connect/token": provider.token_url,
            "http://keycloak:3001/realms/vm": provider.issuer,
            "vminsert:8480": self.store.address,
            "vmselect:8481": self.store.address,
            "vmauth:8427": f"127.0.0.1:{kit.free_port()}",
            "vmagent:8429": f"127.0.0.1:{self.agent_ports['vmagent']}",
        }
        self.neighbour = self.store.prometheus.url.removeprefix("http://")
        self.tenants = {"vmagent": "0:0", "vmagent-string": "1:2"}
        self.homes = {client: [tenant] for client, tenant in self.tenants.items()}
        self.agents, self.agent_places = {}, {client: kit.folder(client) for client in provider.clients}
        # Gaps that are known to be scrapes put off, and spans in which an agent did not run, by client.
        self.late = set()
        self.away = {client: [] for client in provider.clients}
        self.tokens, self.logs = set(), []
        self.proxy = None
        self.begun = time.time()

    def localised(self, text, more=None):
        for ours, theirs in {**self.places, **(more or {})}.items():
            text = text.replace(ours, theirs)
        return text

    def arguments(self, service, places, *own):
        """Those of the compose file, in this run's places; own ones replace those of the same name."""
        names = {each.partition("=")[0] for each in own}
        return [*(self.localised(each, places) for each in compose_arguments(service) if each.partition("=")[0] not in names), *own]

    def start_proxy(self):
        self.proxy = Proxy(self)
        self.logs.append(self.proxy)

    def start_agent(self, client):
        self.agents[client] = Agent(self, client, self.agent_places[client])
        self.logs.append(self.agents[client])

    def debian_agent(self, client):
        """Upstream's agent with the same files; of the arguments only those that it knew then."""
        place = kit.folder(client)
        (place / "scrape.yml").write_text((self.agent_places["vmagent"] / "scrape.yml").read_text())
        (place / "client-secret").write_text(self.provider.clients[client])
        arguments = self.arguments("vmagent", {"/etc/guide/": f"{place}/", "/vmagent-remotewrite-data": f"{place}/queue"},
                                   f"-httpListenAddr=127.0.0.1:{kit.free_port()}", f"-remoteWrite.oauth2.clientID={client}")
        return kit.Process("debian", "/usr/bin/vmagent", *arguments)

    def debian_proxy(self, tenant):
        """Upstream's proxy, which has no tokens of providers yet, and an agent of ours with a password."""
        place, address = kit.folder("debian"), f"127.0.0.1:{kit.free_port()}"
        (place / "auth.yml").write_text(
            f"users: [{{username: u, password: debian-password, url_prefix: 'http://{self.store.address}/insert/{tenant}/prometheus'}}]\n")
        proxy = kit.Process("debian", "/usr/bin/vmauth", f"-auth.config={place}/auth.yml", f"-httpListenAddr={address}")
        kit.wait_for("upstream's proxy", lambda: answers(f"http://{address}/health"))
        agent = kit.Process("vmagent", Agent.binary, f"-promscrape.config={self.agent_places['vmagent']}/scrape.yml",
                            f"-httpListenAddr=127.0.0.1:{kit.free_port()}", f"-remoteWrite.tmpDataPath={place}/queue",
                            f"-remoteWrite.url=http://{address}/api/v1/write", "-remoteWrite.basicAuth.username=u",
                            "-remoteWrite.basicAuth.password=debian-password", *QUICK)
        return proxy, agent

    def write(self, token, method="POST", path="/insert/api/v1/write", body=b""):
        """A request of a client to the proxy; writes without samples leave nothing in a store."""
        self.tokens.add(token)
        return kit.request(method, self.proxy.url + path, kit.bearer(token), body)

    def probe(self, token):
        """Where the proxy sends a request with this token: (status, tenant or None)."""
        before = len(self.store.writes)
        status = self.write(token, "GET").status
        with self.store.lock:
            mine = [each for each in self.store.writes[before:] if each.token == token]
        return status, mine[-1].path.split("/")[2] if mine else None

    def delivered(self, client, since, patience=120):
        """Waits for a write of this agent that was begun after `since` and succeeded."""
        tenant = self.tenants[client]
        return kit.wait_for(f"write of {client} to {tenant}",
                            lambda: [each for each in self.store.seen(tenant, since) if each.status < 300], patience)

    def move(self, client, tenant):
        """From now on this client's samples are expected in another tenant."""
        self.tenants[client] = tenant
        self.homes[client].append(tenant)

    def times(self, client):
        """Times of the samples of `up` by target, over all tenants that the client has had."""
        found = {}
        for tenant in self.homes[client]:
            for instance, times in self.store.times(tenant, UP).items():
                found[instance] = sorted({*found.get(instance, ()), *times})
        return found

    def missing(self, client):
        """Gaps in `up` of each target as (instance, from, to), those during which the agent was away left out."""
        found, series = [], self.times(client)
        for instance, times in series.items():
            found += [(instance, a, b) for a, b in zip(times, times[1:]) if b - a > 1.5 * INTERVAL and not self._excused(client, a, b)]
        found = [gap for gap in found if gap not in self.late]
        return found if len(series) == 3 else [*found, f"series: {sorted(series)}"]

    def _excused(self, client, a, b):
        # A scrape may end just after the stop was asked for, and the first one comes within an interval of the start.
        return any(begin * 1000 - a <= 2 * INTERVAL and b - end * 1000 <= 2 * INTERVAL for begin, end in self.away[client])

    def scraped(self, client):
        """How often this run of the agent has scraped, by its own count."""
        return self.agents[client].metric("vm_promscrape_scrape_requests_total")

    def stored(self, client, now):
        """How many samples of `up` are stored between the start of this run of the agent and `now`."""
        begun = self.agents[client].begun * 1000
        return sum(begun <= at <= now * 1000 for times in self.times(client).values() for at in times)

    def stored_of_scraped(self, client, patience=120):
        """What the agent has scraped until now, and how much of that reaches the store in time."""
        scraped, now = self.scraped(client), time.time()
        try:
            kit.wait_for("all that was scraped", lambda: self.stored(client, now) >= scraped, patience, 0.5)
        except TimeoutError:
            pass
        return self.stored(client, now), scraped

    def nothing_missing(self, client, patience=120):
        """Waits for what was scraped before now, then for late blocks; gives the gaps that stay.

        A busy machine may put a scrape off. That is told from a loss by the agent's own count: then the store has as many as it made.
        """
        tenant, now, scraped = self.tenants[client], time.time(), self.scraped(client)

        def newest():
            series = self.store.times(tenant, UP, "1m")
            return len(series) == 3 and all(times[-1] >= now * 1000 for times in series.values())

        def stored():
            return self.stored(client, now)

        kit.wait_for(f"samples of {client} in {tenant}", newest, patience, 0.5)
        try:
            kit.wait_for("late blocks", lambda: not self.missing(client) or stored() >= scraped, patience, 0.5)
        except TimeoutError:
            return self.missing(client)
        late = {gap for gap in self.missing(client) if not isinstance(gap, str) and gap[1] >= self.agents[client].begun * 1000}
        if late:
            self.late |= late
            kit.note(f"{self.provider.name}: {client}: a busy machine has put {len(late)} scrapes off; {stored()} samples stored of {scraped:.0f}")
        return self.missing(client)
