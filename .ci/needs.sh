# Sourced by scripts that need programs of others: installs them, and ends what runs when the script ends.
# The script sets `trap leave EXIT`.

run=
policy=/usr/sbin/policy-rc.d
own_policy=
leave() {
    [ -z "$run" ] || { kill "$run" && wait "$run"; } 2>/dev/null || true
    [ -z "$own_policy" ] || rm -f "$policy"
}

# again COMMAND...: up to three times, for what comes from a network.
again() {
    local try
    for try in 1 2; do
        if "$@"; then return; fi
        echo "trying again in $((10 * try)) s: $*" >&2
        sleep $((10 * try))
    done
    "$@"
}

# need COMMAND PACKAGE SERVICE...: the Debian package, unless the command is there. Its services shall not run.
need() {
    local command=$1 package=$2
    shift 2
    if command -v "$command" >/dev/null; then return; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$command is missing: install $package" >&2
        return 1
    fi
    if [ ! -e "$policy" ]; then
        own_policy=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    if [ -z "${updated:-}" ]; then again apt-get update -qq && updated=1; fi
    DEBIAN_FRONTEND=noninteractive again apt-get install -y -qq --no-install-recommends "$package" >/dev/null
    # In case somebody's policy lets them start.
    for service in "$@"; do service "$service" stop >/dev/null 2>&1 || true; done
}

# The OpenID provider of npm.
need_provider() {
    local provider=tests/real/provider
    need node nodejs
    need npm npm
    if ! cmp -s "$provider/package-lock.json" "$provider/node_modules/.installed"; then
        again npm ci --prefix "$provider" --ignore-scripts --no-audit --no-fund --loglevel=error
        cp "$provider/package-lock.json" "$provider/node_modules/.installed"
    fi
}

# run_limited SECONDS COMMAND...: in the background, so that a signal ends it with all it has started.
run_limited() {
    local seconds=$1 status=0
    shift
    timeout --kill-after=15 "$seconds" "$@" &
    run=$!
    wait "$run" || status=$?
    run=
    return "$status"
}
