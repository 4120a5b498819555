"""Who reads the files of pages that are not vmauth's: Grafana its data sources, the kubelet a pod. Each is asked for as its reader would do it."""

import base64
import re

import yaml

# What a data source of each kind asks for: how the panels, the explorer and the test of Grafana's settings do it.
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_QUERIES = {
    "prometheus": {
        "POST": [("/api/v1/query", "query=1%2B1&time=4"), ("/api/v1/query_range", "query=up&start=0&end=60&step=15"), ("/api/v1/labels", "start=0&end=60"),
                 ("/api/v1/series", "match%5B%5D=up")],
        "GET": ["/api/v1/label/__name__/values", "/api/v1/metadata", "/api/v1/rules", "/api/v1/status/buildinfo"],
    },
    "victoriametrics-logs-datasource": {
        "POST": [("/select/logsql/query", "query=error"), ("/select/logsql/hits", "query=error&step=1h"), ("/select/logsql/stats_query_range", "query=*")],
        "GET": ["/select/logsql/field_names", "/select/logsql/field_values"],
    },
}
_KEYS = {"name", "type", "url", "uid", "orgId", "access", "isDefault", "editable", "basicAuth", "basicAuthUser", "jsonData", "secureJsonData"}


def _expanded(value, variables):
    """Grafana puts variables into all strings of a provisioned file; `$$` is a dollar sign."""
    if isinstance(value, dict):
        return {key: _expanded(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_expanded(each, variables) for each in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\$(?:\$|\{(\w+)\}|(\w+))", lambda found: "$" if found[0] == "$$" else variables.get(found[1] or found[2], ""), value)


def _headers(source, person):
    """Credentials that go with each request, and headers of provisioned fields."""
    plain, secret = source.get("jsonData") or {}, source.get("secureJsonData") or {}
    headers = {}
    if source.get("basicAuth"):
        headers["Authorization"] = "Basic " + base64.b64encode(f"{source['basicAuthUser']}:{secret['basicAuthPassword']}".encode()).decode()
    for key, name in plain.items():
        if number := re.fullmatch(r"httpHeaderName(\d+)", key):
            headers[name] = secret[f"httpHeaderValue{number[1]}"]
    if plain.get("oauthPassThru"):
        headers["Authorization"] = f"Bearer {person}"
    return headers


def grafana(text, variables, person):
    """(data source, method, URL, headers, body) of what Grafana sends with such a file. `person`: the token of who looks, for `oauthPassThru`."""
    file = yaml.safe_load(text)
    if file["apiVersion"] != 1:
        raise ValueError("Grafana reads version 1 of this file")
    for source in _expanded(file["datasources"], variables):
        if unknown := source.keys() - _KEYS:
            raise ValueError(f"{source['name']}: {unknown} are not Grafana's")
        kind, headers = _QUERIES[source["type"]], _headers(source, person)
        is_post = (source.get("jsonData") or {}).get("httpMethod", "POST") == "POST"
        for path, form in kind["POST"]:
            if is_post:
                yield source["name"], "POST", source["url"] + path, headers | _FORM, form
            else:
                yield source["name"], "GET", f"{source['url']}{path}?{form}", headers, None
        for path in kind["GET"]:
            yield source["name"], "GET", source["url"] + path, headers, None


class Pod:
    """A pod of one container, whose mounts are folders below `root`."""

    def __init__(self, text, root, sign):
        self.manifest, self.root, self.sign = yaml.safe_load(text), root, sign
        if (self.manifest["apiVersion"], self.manifest["kind"]) != ("v1", "Pod"):
            raise ValueError("this is no Pod")
        [self.container] = self.manifest["spec"]["containers"]
        self.mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in self.manifest["spec"]["volumes"]}
        if volumes.keys() != self.mounts.keys():
            raise ValueError(f"volumes {sorted(volumes)} and mounts {sorted(self.mounts)} do not fit")
        self.volumes = volumes
        for path in self.mounts.values():
            self.inside(path).mkdir(parents=True)

    def inside(self, path):
        return self.root / path.lstrip("/")

    def arguments(self):
        """Those of the container; paths below mounts are where the mounts are."""
        arguments = self.container["args"]
        for path in self.mounts.values():
            arguments = [argument.replace(f"={path}", f"={self.inside(path)}") for argument in arguments]
        return arguments

    def write_tokens(self, now, number):
        """Tokens of projected volumes, in the place of older ones as the kubelet does it: whole, by a rename. Gives them."""
        spec, meta, tokens = self.manifest["spec"], self.manifest["metadata"], []
        for name, volume in self.volumes.items():
            for source in volume.get("projected", {}).get("sources", []):
                wanted = source["serviceAccountToken"]
                tokens.append(self.sign({
                    "sub": f"system:serviceaccount:{meta['namespace']}:{spec['serviceAccountName']}", "aud": [wanted["audience"]], "iat": now, "nbf": now,
                    "exp": now + wanted["expirationSeconds"], "jti": str(number),
                    "kubernetes.io": {"namespace": meta["namespace"], "serviceaccount": {"name": spec["serviceAccountName"]}}}))
                path = self.inside(self.mounts[name]) / wanted["path"]
                path.with_suffix(".new").write_text(tokens[-1])
                path.with_suffix(".new").rename(path)
        self.tokens = tokens
        return tokens

    def probes(self):
        """Paths that the kubelet asks, each at a port that the container has."""
        ports = {port["containerPort"] for port in self.container["ports"]}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe := self.container.get(name):
                if probe["httpGet"]["port"] not in ports:
                    raise ValueError(f"{name}: the container has no port {probe['httpGet']['port']}")
                yield probe["httpGet"]["path"]
