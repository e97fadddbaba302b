#!/usr/bin/env bash
# Runs both set-up commands from a fresh clone in a minimal Debian or Ubuntu made by debootstrap: what a newcomer gets.
# Needs root, debootstrap and the network. Tested suites: bookworm, trixie (Debian) and noble (Ubuntu 24.04).
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/check_fresh_root.sh SUITE DIR [options]
  SUITE             bookworm, trixie, noble, ...
  DIR               folder for the root; made by debootstrap when it does not exist
  --mirror URL      package mirror for debootstrap
  --copy PATH       copy this file or folder of the host to the same place in the root (repeatable): package settings
  --bind PATH       show this folder of the host in the root at the same place, read-only (repeatable): local packages
  --env NAME=VALUE  set in the root's environment (repeatable)
  --source DIR      clone this repository (default: the one this script is in)
  --run COMMAND     run this in the clone instead of scripts/test.sh and scripts/quickstart.sh
TEXT
}

repository=$(cd "$(dirname "$0")/.." && pwd)
mirror='' copies=() binds=() variables=() positional=()
command='scripts/test.sh --yes && scripts/quickstart.sh --yes --no-chat'
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --mirror) mirror=$2; shift 2 ;;
    --copy) copies+=("$2"); shift 2 ;;
    --bind) binds+=("$2"); shift 2 ;;
    --env) variables+=("$2"); shift 2 ;;
    --source) repository=$2; shift 2 ;;
    --run) command=$2; shift 2 ;;
    --*) echo "check_fresh_root.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    *) positional+=("$1"); shift ;;
  esac
done
[ ${#positional[@]} -eq 2 ] || { usage >&2; exit 2; }
suite=${positional[0]} root=${positional[1]}

[ -d "$root/etc" ] || debootstrap --variant=minbase "$suite" "$root" ${mirror:+"$mirror"}
root=$(cd "$root" && pwd)
cp /etc/resolv.conf /etc/hosts "$root/etc/"
for path in "${copies[@]}"; do
  mkdir -p "$root$(dirname "$path")"
  cp -rL "$path" "$root$(dirname "$path")/"
done
rm -rf "$root/srv/xinslm"
git clone --quiet "$repository" "$root/srv/xinslm"

# The mounts live in a name space of their own and vanish with it, however this ends.
unshare --mount bash -s -- "$root" "$command" "${#binds[@]}" "${binds[@]}" "${variables[@]}" <<'INSIDE'
set -euo pipefail
root=$1 command=$2 bind_count=$3
shift 3
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for _ in $(seq "$bind_count"); do
  mkdir -p "$root$1"
  mount --bind -o ro "$1" "$root$1"
  shift
done
exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  "$@" bash -c "cd /srv/xinslm && $command" </dev/null
INSIDE
