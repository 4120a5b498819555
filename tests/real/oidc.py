"""Tokens of an identity provider that somebody else wrote: tenants, rotation, outages, issuers, clocks, the log.

A refused request takes two to three seconds, because vmauth delays the reply to guessers.
"""

import threading
import time

from kit import Provider, Store, Vmauth, check, token_part

SECRET = "provider-client-secret"
TENANT = {"metrics_account_id": 7, "metrics_project_id": 11}


def client(vm_access=None, ttl=600):
    return {"secret": SECRET, "ttl": ttl, "claims": {"vm_access": vm_access or TENANT}}


CLIENTS = {
    "object": client(),
    "string": client('{"metrics_account_id": 5, "metrics_project_id": 6}'),
    "short": client(ttl=4),
    "tolerated": client(ttl=4),
    "listener": client(),
}


def user(store, issuer, jwt_lines="", prefix="insert"):
    return f"""\
- jwt:
    oidc:
      issuer: '{issuer}'
{jwt_lines}  url_map:
  - src_paths: ["/insert/.*"]
    drop_src_path_prefix_parts: 1
    url_prefix: '{store.url}/{prefix}/{{{{.MetricsTenant}}}}/prometheus/'
"""


def config(*users):
    return "users:\n" + "".join(users)


def tenants_and_rotation():
    provider, store = Provider(CLIENTS), Store()
    vmauth = Vmauth(config(user(store, provider.url)))

    for kind, tenant in (("object", "7:11"), ("string", "5:6")):
        token = provider.token(kind)
        reply = vmauth.write(token, body=kind.encode() * 1000)
        check(f"oidc: tenant from vm_access as {kind}",
              reply.status == 204 and store.paths()[-1:] == [f"/insert/{tenant}/prometheus/api/v1/write"]
              and store.requests[-1][2] == kind.encode() * 1000, (reply.status, reply.text(), store.paths()))
    vmauth.write(token)
    check("oidc: a token is verified once", vmauth.wait_metric(1, "vmauth_jwt_cache_hits_total"), vmauth.page())

    old = provider.token("object")
    check("oidc: token before rotation", vmauth.write(old).status == 204)
    provider.publish("b", "a")
    new = provider.token("object")
    kids = [token_part(token, 0).get("kid") for token in (old, new)]
    replies = [vmauth.write(token).status for token in (new, old, new)]
    check("oidc: rotation with overlap: new and old tokens at once", kids == ["a", "b"] and replies == [204] * 3,
          (kids, replies))
    check("oidc: gauge of keys follows", vmauth.wait_metric(2, "vmauth_oidc_keys", issuer=provider.url), vmauth.page())

    provider.publish("c")
    newest = provider.token("object")
    status = vmauth.write(newest).status
    # Fetches that tokens ask for are a second apart; the last was for the rotation above.
    check("oidc: rotation without overlap: new token accepted at its first use", status == 204, status)
    # Bound: the refresh that brings the new key ends the old ones, cached tokens included.
    seen = len(store.requests)
    replies = [vmauth.write(token).status for token in (old, new)]
    check("oidc: rotation without overlap: old tokens refused from that refresh on",
          replies == [401, 401] and len(store.requests) == seen, replies)
    check("oidc: their cause is counted", vmauth.wait_metric(2, "vmauth_invalid_auth_tokens_total", cause="unknown_key"))

    age = vmauth.metric("vmauth_oidc_keys_age_seconds", issuer=provider.url)
    success = vmauth.metric("vmauth_oidc_last_success_timestamp_seconds", issuer=provider.url)
    failures = vmauth.metric("vmauth_oidc_refresh_failures_total", issuer=provider.url)
    check("oidc: gauges of age and success",
          age is not None and 0 <= age <= 30 and success and abs(time.time() - success) <= 30 and failures == 0,
          (age, success, failures))
    vmauth.stop()
    provider.stop()


class Revocation(threading.Thread):
    """Nobody shows a new token, so only the next refresh can end the old one. Runs beside the other checks.

    Bound: the shortest time between refreshes (60 s for `max-age=60`), its jitter of a tenth, and five seconds for the
    refresh; after that no request may be begun that is accepted.
    """

    BOUND = 60 * 1.1 + 5

    def __init__(self):
        super().__init__(daemon=True)
        self.outcome = (False, "did not end")
        self.start()

    def run(self):
        try:
            self.outcome = self.watch()
        except Exception as error:  # whatever it is, it is the outcome
            self.outcome = (False, repr(error))

    def watch(self):
        provider, store = Provider(CLIENTS, max_age=60), Store()
        vmauth = Vmauth(config(user(store, provider.url)))
        token = provider.token("object")
        first = vmauth.write(token).status
        provider.publish("b")
        begun = time.monotonic()
        status, waited = first, 0.0
        while status == 204 and waited < self.BOUND + 5:
            time.sleep(0.5)
            asked = time.monotonic() - begun
            status = vmauth.write(token).status
            waited = asked if status == 204 else waited
        return first == 204 and status == 401 and waited <= self.BOUND, (first, status, waited)

    def finish(self):
        self.join(self.BOUND + 30)
        check("oidc: rotation without overlap and no new token: old token ends with the next refresh, within 71 s",
              *self.outcome)


def provider_down():
    provider, store = Provider(CLIENTS), Store()
    token = provider.token("object")
    provider.kill()
    vmauth = Vmauth(config(user(store, provider.url)))
    reply = vmauth.write(token)
    check("oidc: provider down at start: token refused", reply.status == 401 and not store.requests, reply.status)
    check("oidc: provider down at start: cause is counted",
          vmauth.wait_metric(1, "vmauth_invalid_auth_tokens_total", cause="keys_not_loaded")
          and vmauth.metric("vmauth_oidc_refresh_failures_total", issuer=provider.url) > 0
          and vmauth.metric("vmauth_oidc_keys", issuer=provider.url) == 0, vmauth.page())
    check("oidc: provider down at start: the log says so",
          f'failed to initialize OIDC verifier pool at start for issuer "{provider.url}"' in vmauth.log(), vmauth.log())
    provider = provider.again()
    begun = time.monotonic()
    status = 0
    while status != 204 and time.monotonic() < begun + 60:
        status = vmauth.write(token).status
    took = time.monotonic() - begun
    check("oidc: provider comes up: token accepted without reload",
          status == 204 and vmauth.metric("vmauth_config_last_reload_total") == 0, (status, took))

    fresh = [provider.token("object") for _ in range(3)]
    provider.publish("z")
    unknown = provider.token("object")
    provider.kill()
    replies = [vmauth.write(each).status for each in (token, fresh[0])]
    check("oidc: provider dies: used and unused tokens go on working", replies == [204, 204], replies)
    failures = vmauth.metric("vmauth_oidc_refresh_failures_total", issuer=provider.url)
    status = vmauth.write(unknown).status
    check("oidc: provider dead: unknown key refused, the failed refetch counted",
          status == 401 and vmauth.wait_metric(1, "vmauth_invalid_auth_tokens_total", cause="unknown_key")
          and vmauth.metric("vmauth_oidc_refresh_failures_total", issuer=provider.url) > failures, status)
    replies = [vmauth.write(each).status for each in (token, fresh[1])]
    check("oidc: provider dead: failed refetch costs no key", replies == [204, 204], replies)
    vmauth.reload(config(user(store, provider.url, prefix="moved")))
    replies = [vmauth.write(each).status for each in (token, fresh[2])]
    check("oidc: reload while the provider is down: tokens go on working",
          replies == [204, 204] and store.paths()[-2:] == ["/moved/7:11/prometheus/api/v1/write"] * 2,
          (replies, store.paths()))
    check("oidc: reload while the provider is down: gauge keeps its keys",
          vmauth.wait_metric(1, "vmauth_oidc_keys", issuer=provider.url), vmauth.page())
    vmauth.stop()


def issuers_audiences_and_log():
    provider, store = Provider(CLIENTS), Store()
    # The same keys, so that only the issuer can be what is wrong.
    other = Provider(CLIENTS, keys_dir=provider.keys_dir)
    audience = "    audience: [https://metrics.example]\n    match_claims: {client_id: listener}\n"
    vmauth = Vmauth(config(user(store, provider.url), user(store, provider.url, audience)), "-logInvalidAuthTokens")

    foreign = other.token("object")
    reply = vmauth.write(foreign)
    check("oidc: wrong issuer refused", reply.status == 401 and not store.requests, reply.status)
    check("oidc: wrong issuer counted by cause and in all",
          vmauth.wait_metric(1, "vmauth_invalid_auth_tokens_total", cause="wrong_issuer")
          and vmauth.metric("vmauth_http_request_errors_total", reason="invalid_auth_token") == 1, vmauth.page())
    line = vmauth.wait_log(r".*cause=wrong_issuer.*").group(0)
    claims = token_part(foreign, 1)
    wanted = [f'iss="{other.url}"', 'kid="a"', 'sub="object"', f'exp={claims["exp"]}', "fingerprint="]
    missing = [part for part in wanted if part not in line]
    check("oidc: the log names cause, iss, kid, sub, exp and a fingerprint", not missing, (missing, line))

    vmauth.reload(config(user(store, provider.url, audience)))
    right = provider.token("listener", resource="https://metrics.example")
    wrong = provider.token("listener", resource="https://other.example")
    statuses = [vmauth.write(right).status, vmauth.write(wrong).status]
    check("oidc: right audience accepted, wrong one refused", statuses == [204, 401], statuses)
    check("oidc: wrong audience counted",
          vmauth.wait_metric(1, "vmauth_invalid_auth_tokens_total", cause="wrong_audience"), vmauth.page())

    tampered = right[:-8] + ("AAAAAAAA" if right[-8:] != "AAAAAAAA" else "BBBBBBBB")
    reply = vmauth.write(tampered)
    check("oidc: changed signature refused and counted", reply.status == 401
          and vmauth.wait_metric(1, "vmauth_invalid_auth_tokens_total", cause="bad_signature"), reply.status)
    log = vmauth.log() + vmauth.page() + reply.text()
    parts = [part for token in (foreign, right, wrong, tampered) for part in token.split(".")[1:] if part[:40] in log]
    check("oidc: no part of a token in log, metrics or reply", not parts, parts)

    slash = provider.url + "/"
    vmauth.reload(config(user(store, slash)))
    status = vmauth.write(right).status
    check("oidc: issuer compared byte for byte with discovery and token",
          status == 401 and vmauth.metric("vmauth_oidc_keys", issuer=slash) == 0
          and vmauth.metric("vmauth_oidc_refresh_failures_total", issuer=slash) > 0, (status, vmauth.page()))
    for process in (vmauth, other, provider):
        process.stop()


def last_accepted(vmauth, token, until):
    """Sends one request after another until one is refused or `until`: starts of the last accepted and the refused one."""
    accepted = None
    while time.time() < until:
        begun = time.time()
        if vmauth.write(token).status != 204:
            return accepted, begun
        accepted = begun
        time.sleep(0.02)
    return accepted, None


def clock_edges():
    provider, store = Provider(CLIENTS), Store()
    skew = "    clock_skew: 3s\n    match_claims: {client_id: tolerated}\n"
    vmauth = Vmauth(config(user(store, provider.url), user(store, provider.url, skew)))
    refusals = 0
    for kind, tolerance in (("short", 0), ("tolerated", 3)):
        # A machine that stalls is late as well, but not each time.
        for _ in range(3):
            token = provider.token(kind)
            # The second `exp` itself is still valid.
            end = token_part(token, 1)["exp"] + tolerance + 1
            accepted, refused = last_accepted(vmauth, token, end + 5)
            refusals += refused is not None
            is_sharp = accepted and refused and accepted < end and end - 0.3 <= refused <= end + 0.5
            if is_sharp:
                break
        check(f"oidc: token ends with exp and clock_skew of {tolerance} s", is_sharp,
              f"accepted at {accepted}, refused at {refused}, ends at {end}")
    check("oidc: expired tokens counted", vmauth.wait_metric(refusals, "vmauth_invalid_auth_tokens_total", cause="expired"),
          vmauth.page())
    vmauth.stop()
    provider.stop()


PARTS = (tenants_and_rotation, provider_down, issuers_audiences_and_log, clock_edges)
