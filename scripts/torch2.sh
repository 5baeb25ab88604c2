#!/usr/bin/env bash
# A newer PyTorch than Debian 12's, to be measured beside it: Debian 13's package in a folder of its own (about 2 GB), nothing is installed
# on the machine but debootstrap. Prints what to set for `npm run bench`. Needs root. Usage: scripts/torch2.sh [folder]
set -euo pipefail
cd "$(dirname "$0")/.."
bench=$(realpath bench)
root=${1:-build/torch2}
command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
mkdir -p "$root"
root=$(realpath "$root")
[ -x "$root/usr/bin/python3" ] ||
  debootstrap --variant=minbase --include=python3-torch,libopenblas0-pthread trixie "$root" http://deb.debian.org/debian >&2
# The script that is timed is found under its own name in there; maps and thread counts need /proc.
mkdir -p "$root$bench"
cat >"$root/python3-torch" <<WRAPPER
#!/bin/sh
exec unshare --mount --propagation private sh -c 'mount --bind "$bench" "$root$bench" && mount -t proc proc "$root/proc" && exec chroot "$root" /usr/bin/python3 "\$@"' sh "\$@"
WRAPPER
chmod +x "$root/python3-torch"
echo "MERAK_TORCH_PYTHON=$root/python3-torch"
