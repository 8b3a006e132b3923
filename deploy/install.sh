#!/usr/bin/env bash
# Installs the edge agent (or the controller) on Debian, Ubuntu or Raspberry Pi OS. Running it again upgrades in place and
# changes no configuration. See deploy/README.md.
set -euo pipefail
# What is installed must be readable for the service, whatever root's own habit is.
umask 022

usage() {
    cat <<'TEXT'
Usage: deploy/install.sh [OPTION]...

Creates a system user, a virtual environment in /opt/smallhold, and a systemd service. Run as root.

  --role ROLE      agent (default) or controller
  --wheel FILE     install this wheel; without it, and without --package, the source tree that this script lies in
  --package SPEC   install this requirement from the package index, such as smallhold==0.1.0
  --extras LIST    default: agent,onnx for the agent, controller for the controller; others: tflite, litert
  --python PATH    a Python of 3.11 or newer (default: python3)
  --prefix PATH    the virtual environment (default: /opt/smallhold)
  --start          enable and start the service; otherwise it is said how
  --dry-run        print what would be done, do nothing
  --help           this text

Exit status: 0 done; 1 a step failed; 2 wrong usage.
Example: sudo deploy/install.sh --wheel smallhold-0.1.0-py3-none-any.whl --extras agent,tflite
TEXT
}

fail() {
    printf 'install.sh: %s\n' "$2" >&2
    exit "$1"
}

run() {
    if [[ "$dry_run" == yes ]]; then
        printf '%q ' "$@"
        printf '\n'
    else
        "$@"
    fi
}

root_of_source="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
role=agent extras='' wheel='' package='' python=python3 prefix=/opt/smallhold start=no dry_run=no

while (($#)); do
    case "$1" in
        --role | --wheel | --package | --extras | --python | --prefix)
            (($# >= 2)) || fail 2 "$1 needs a value; see --help"
            declare "${1#--}=$2"
            shift 2
            ;;
        --start) start=yes && shift ;;
        --dry-run) dry_run=yes && shift ;;
        --help | -h) usage && exit 0 ;;
        *) fail 2 "unknown option $1; see --help" ;;
    esac
done

case "$role" in
    agent) user=edge-agent config=agent.toml extras="${extras:-agent,onnx}" units=(edge-agent.service) ;;
    controller)
        user=fleet-controller config=controller.toml extras="${extras:-controller}"
        units=(fleet-controller.service fleet-broker-passwords.path fleet-broker-passwords.service)
        ;;
    *) fail 2 "--role is agent or controller, not '$role'" ;;
esac
[[ "$extras" =~ ^[a-z]+(,[a-z]+)*$ ]] || fail 2 "--extras is a list such as agent,onnx, not '$extras'"
[[ -z "$wheel" || -z "$package" ]] || fail 2 "--wheel and --package exclude each other"
[[ "$prefix" == /* ]] || fail 2 "--prefix is an absolute path, not '$prefix'"

if [[ -n "$wheel" ]]; then
    [[ -f "$wheel" ]] || fail 2 "there is no wheel $wheel"
    requirement="$(realpath -- "$wheel")[$extras]"
elif [[ -n "$package" ]]; then
    name="${package%%[=<>~!]*}"
    requirement="${name}[$extras]${package#"$name"}"
else
    requirement="${root_of_source}[$extras]"
fi

[[ "$dry_run" == yes || $EUID -eq 0 ]] || fail 1 "must be run as root (or with --dry-run)"
command -v "$python" >/dev/null || fail 1 "there is no $python; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail 1 "$python is older than 3.11; name a newer one with --python"

# Debian ships venv apart from python3.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    run apt-get update
    run apt-get install --yes --no-install-recommends python3-venv
fi

if ! getent passwd "$user" >/dev/null; then
    run useradd --system --user-group --home-dir "/var/lib/$user" --no-create-home --shell /usr/sbin/nologin "$user"
fi

if [[ ! -x "$prefix/bin/python" ]]; then
    run "$python" -m venv "$prefix"
fi
run "$prefix/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$requirement"

# The service may read its configuration, nobody else may, and it may not change it.
run install -d -m 0750 -o root -g "$user" "/etc/$user"
if [[ ! -e "/etc/$user/$config" ]]; then
    run install -m 0640 -o root -g "$user" "$root_of_source/configs/${config%.toml}.example.toml" "/etc/$user/$config"
fi

for name in "${units[@]}"; do
    run install -m 0644 "$root_of_source/systemd/$name" "/etc/systemd/system/$name"
    if [[ "$prefix" != /opt/smallhold ]]; then
        run sed -i "s|/opt/smallhold/|$prefix/|g" "/etc/systemd/system/$name"
    fi
done
if [[ "$dry_run" == yes || -d /run/systemd/system ]]; then
    run systemctl daemon-reload
    if [[ "$start" == yes ]]; then
        run systemctl enable "$user.service"
        run systemctl restart "$user.service"
    else
        # What runs goes on with the new version: its workers are started from the files that have just been replaced.
        run systemctl try-restart "$user.service"
    fi
fi

[[ "$dry_run" == no ]] || exit 0
if [[ "$role" == agent ]]; then
    cat <<TEXT
The agent is installed. What to do next:
1. Copy the device's files (fleet device add NAME --path-on-device /etc/edge-agent) to /etc/edge-agent,
   owner root, group edge-agent, mode 0640.
2. Edit /etc/edge-agent/agent.toml and check it:
   sudo -u edge-agent $prefix/bin/edge-agent check
3. Start it: systemctl enable --now edge-agent    then: sudo $prefix/bin/edge-agent status
TEXT
else
    cat <<TEXT
The controller is installed. What to do next:
1. Make its state: install -d -m 0700 -o fleet-controller -g fleet-controller /var/lib/fleet-controller
   sudo -u fleet-controller $prefix/bin/fleet init --state-dir /var/lib/fleet-controller --public-url https://...
2. Use the configuration that it wrote:
   install -m 0640 -o root -g fleet-controller /var/lib/fleet-controller/controller.toml /etc/fleet-controller/
3. If the fleet broker is Mosquitto on this machine: systemctl enable --now fleet-broker-passwords.path
4. Start it: systemctl enable --now fleet-controller
TEXT
fi
