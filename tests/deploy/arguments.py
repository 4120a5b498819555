"""Whole vectors of arguments as upstream's operator, charts and Ansible roles pass them: the program starts, answers the probe that the
tool makes, reloads as the tool asks for it, and ends in order. Single traits of these are in the conformance kits (`operator.toml`, `flags.toml`).
"""

import kit
import program
from packages import ROOT

CONFIG = '# tls-assets-hash: 1f0e\nusers:\n- username: u\n  password: p\n  url_prefix: http://127.0.0.1:1\n'
SCRAPE = "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['127.0.0.1:1']}]\n"


def place_with(**files):
    place = kit.folder("files")
    for name, text in files.items():
        (place / name.replace("_", ".", 1)).write_text(text)
    return place


def operator_vmauth(out):
    place = place_with(config_yaml=CONFIG, key="reload-key\n")
    public, internal = kit.free_port(), kit.free_port()
    url = f"http://127.0.0.1:{internal}"
    process = program.start("vmauth", [
        out / "programs/vmauth-prod", f"-auth.config={place}/config.yaml", "-configCheckInterval=1m", "-enableTCP6", "-envflag.enable=true",
        f"-httpInternalListenAddr=:{internal}", f"-httpListenAddr=:{public}", "-httpListenAddr.useProxyProtocol=true", "-license=",
        "-license.forceOffline=true", "-licenseFile.reloadInterval=1h", "-loggerFormat=default", "-loggerLevel=INFO",
        f"-reloadAuthKey=file://{place}/key",
    ], url)
    kit.check("operator, vmauth: a probe by a bare connection leaves no error", program.connects(public) and not program.errors(process), process.log())
    statuses = [kit.request("POST", url + path, headers, body).status for path, headers, body in (
        ("/-/reload?authKey=reload-key", {}, None),
        ("/-/reload", {"Content-Type": "application/x-www-form-urlencoded"}, "authKey=reload-key"),
        ("/-/reload?authKey=wrong", {}, None),
    )]
    kit.check("operator, vmauth: reload with its key, in query and form", statuses[0] in (200, 204) and statuses[1] in (200, 204) and statuses[2] == 401, statuses)
    kit.check("operator, vmauth: ends in order", process.stop() == 0, process.log()[-1500:])


def chart_vmauth(out):
    place = place_with(auth_yml=CONFIG + "unauthorized_user: null\n")
    port = kit.free_port()
    process = program.start("vmauth", [
        out / "programs/vmauth-prod", f"--auth.config={place}/auth.yml", "--envflag.enable", "--envflag.prefix=VM_", f"--httpListenAddr=:{port}",
        "--loggerFormat=json",
    ], f"http://127.0.0.1:{port}", {"VM_loggerLevel": "WARN"})
    kit.check("chart, vmauth: flags from the environment", "loaded information" not in process.log(), process.log())
    kit.check("chart, vmauth: ends in order", process.stop() == 0, process.log()[-1500:])

    # Two items of the chart's `http`, the second with TLS: a list for each of its keys, filled up to the item's place with empty items, or with `false`.
    keys = ROOT / "tests/conformance/keys"
    for filler in ("", "false"):
        ports = kit.free_port(), kit.free_port()
        process = program.start("vmauth", [
            out / "programs/vmauth-prod", f"--auth.config={place}/auth.yml", "--envflag.enable", "--envflag.prefix=VM_", f"--httpListenAddr=127.0.0.1:{ports[0]}",
            f"--httpListenAddr=127.0.0.1:{ports[1]}", "--loggerFormat=json", f"--tls={filler}", "--tls", "--tlsCertFile=", f"--tlsCertFile={keys}/server1.crt",
            "--tlsKeyFile=", f"--tlsKeyFile={keys}/server1.key",
        ], f"http://127.0.0.1:{ports[0]}")
        kit.check(f"chart, vmauth: a second listener with TLS, filled with {filler or 'nothing'}", program.speaks_tls(ports[1]), process.log())
        process.stop()


def operator_vmagent(out):
    place = place_with(vmagent_yaml=SCRAPE, id="i", secret="s", password="p")
    port = kit.free_port()
    url = f"http://127.0.0.1:{port}"
    process = program.start("vmagent", [
        out / "programs/vmagent-prod", "-enableMultitenantHandlers=true", f"-httpListenAddr=:{port}", "-loggerLevel=INFO",
        f"-promscrape.config={place}/vmagent.yaml", "-promscrape.maxScrapeSize=16MB",
        "-remoteWrite.url=http://127.0.0.1:1/api/v1/write,http://127.0.0.1:2/api/v1/write", "-remoteWrite.basicAuth.username=\"\",x",
        f"-remoteWrite.basicAuth.passwordFile=\"\",{place}/password", "-remoteWrite.oauth2.clientID=agent,\"\"",
        f"-remoteWrite.oauth2.clientSecretFile={place}/secret,\"\"", "-remoteWrite.oauth2.scopes=openid,\"\"",
        "-remoteWrite.oauth2.tokenUrl=http://127.0.0.1:3/token,\"\"", "-remoteWrite.sendTimeout=10s,1m", "-remoteWrite.tlsInsecureSkipVerify=false,true",
        "-remoteWrite.headers=X-A: b^^X-C: d,\"\"", "-remoteWrite.forceVMProto=false,true", "-remoteWrite.maxDiskUsagePerURL=1073741824",
        f"-remoteWrite.tmpDataPath={place}/queue", "-remoteWrite.queues=2", "-remoteWrite.flushInterval=1s", "-remoteWrite.showURL=true",
        "-remoteWrite.maxBlockSize=8388608", "-remoteWrite.label=cluster=a",
    ], url)
    statuses = [kit.request("POST", url + "/-/reload").status, kit.request("POST", url + "/insert/1:2/prometheus/api/v1/import/prometheus", body=b"a 1\n").status]
    kit.check("operator, vmagent: reload, tenants", all(each in (200, 204) for each in statuses), statuses)
    kit.check("operator, vmagent: ends in order", process.stop() == 0, process.log()[-1500:])


def chart_vmagent(out):
    place = place_with(scrape_yml=SCRAPE)
    port = kit.free_port()
    process = program.start("vmagent", [
        out / "programs/vmagent-prod", "--envflag.enable", "--envflag.prefix=VM_", f"--httpListenAddr=:{port}", "--loggerFormat=json",
        f"--promscrape.config={place}/scrape.yml", "--promscrape.cluster.membersCount=2", "--promscrape.cluster.memberNum=release-vmagent-1",
        f"--remoteWrite.tmpDataPath={place}/tmpData", "--remoteWrite.url=http://127.0.0.1:1/api/v1/write",
    ], f"http://127.0.0.1:{port}")
    kit.check("chart, vmagent: starts with the name of its pod, and ends in order", process.stop() == 0, process.log()[-1500:])


def ansible(out):
    place = place_with(auth_yml=CONFIG, scrape_yml=SCRAPE)
    port = kit.free_port()
    # The role writes an EnvironmentFile with names of flags, underscores for dots.
    process = program.start("vmauth", [out / "programs/vmauth-prod", "-envflag.enable", f"-auth.config={place}/auth.yml", "--loggerFormat=json"],
                            f"http://127.0.0.1:{port}", {"httpListenAddr": f"127.0.0.1:{port}"})
    kit.check("ansible, vmauth: starts, and ends in order", process.stop() == 0, process.log()[-1500:])
    port = kit.free_port()
    process = program.start("vmagent", [out / "programs/vmagent-prod", "-envflag.enable", f"-promscrape.config={place}/scrape.yml"],
                            f"http://127.0.0.1:{port}", {
                                "httpListenAddr": f"127.0.0.1:{port}", "remoteWrite_url": "http://127.0.0.1:1/api/v1/write",
                                "remoteWrite_tmpDataPath": f"{place}/queue"})
    kit.check("ansible, vmagent: starts, and ends in order", process.stop() == 0, process.log()[-1500:])


def run(out):
    for each in (operator_vmauth, chart_vmauth, operator_vmagent, chart_vmagent, ansible):
        try:
            each(out)
        except Exception as error:
            kit.check(each.__name__, False, error)
