# Shared by the scripts: a virtual environment that is made once and made again only when what it
# must hold has changed. Meant to be sourced.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() { say "$*"; exit 1; }

# The newest Python that will do, and better one for which there are packages that find faces.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.12 python3.11 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer found: apt-get install python3 python3-venv, or set PYTHON"
}

make_venv() { "$(find_python)" -m venv --clear .venv; }

# ensure_venv EXTRAS: .venv with this checkout and the given extras (may be empty).
ensure_venv() {
    local extras=$1 want have
    want="$extras $(cat setup.cfg pyproject.toml constraints.txt | sha256sum)"
    have=$(cat .venv/installed 2>/dev/null || true)
    case $'\n'"$have"$'\n' in *$'\n'"$want"$'\n'*) return ;; esac
    if ! .venv/bin/python -c '' 2>/dev/null; then
        say "making .venv"
        make_venv || { apt_install python3-venv && make_venv; } ||
            fail "can't make .venv: apt-get install python3-venv"
    fi
    say "installing into .venv (once)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable ".${extras:+[$extras]}" ||
        fail "installation failed; the lines above say why"
    # Other sets of extras stay installed; a changed setup.cfg makes all of them stale.
    { grep -sF "${want#* }" .venv/installed || true; echo "$want"; } > .venv/installed.new
    mv .venv/installed.new .venv/installed
}

# apt_install PACKAGE...: Debian packages, where we may; returns 1 where we may not. Services that
# come with them are not started, neither now nor with the machine.
apt_install() {
    local sudo=
    command -v apt-get > /dev/null || return 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2> /dev/null || return 1
        sudo="sudo -n"
    fi
    say "installing $*"
    $sudo apt-get update -qq > /dev/null && $sudo bash -s "$@" > /dev/null << 'AS_ROOT'
        enabled() {
            systemctl list-unit-files --type=service --state=enabled --no-legend 2> /dev/null |
                cut -d ' ' -f 1 | sort
        }
        before=$(enabled)
        policy=/usr/sbin/policy-rc.d # what is asked before any service is started
        if [ ! -e $policy ]; then
            trap 'rm -f $policy' EXIT
            printf '#!/bin/sh\nexit 101\n' > $policy
            chmod +x $policy
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" < /dev/null
        status=$?
        comm -13 <(echo "$before") <(enabled) | xargs --no-run-if-empty systemctl --quiet disable
        exit $status
AS_ROOT
}
