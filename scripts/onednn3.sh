#!/usr/bin/env bash
# Builds the engine against oneDNN 3.x (Debian 13's package, unpacked into a folder; nothing is installed) and, where this
# machine's C library can load it, runs the parity tests of the oneDNN kernels on that build. Needs root for apt's lists.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-build/onednn3}
mkdir -p "$work/sources" "$work/lists/partial" "$work/debs"
work=$(realpath "$work")
cat >"$work/sources/trixie.sources" <<'SOURCES'
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
apt="-oDir::Etc::SourceList=/dev/null -oDir::Etc::SourceParts=$work/sources -oDir::State::Lists=$work/lists -oAPT::Sandbox::User=root"
# shellcheck disable=SC2086
apt-get $apt update -qq
cd "$work/debs"
# shellcheck disable=SC2086
apt-get $apt download -qq libdnnl-dev
runtime=$(dpkg -f libdnnl-dev_*.deb Depends | grep -o 'libdnnl[0-9.]*' | head -1)
# shellcheck disable=SC2086
apt-get $apt download -qq "$runtime"
for deb in ./*.deb; do dpkg -x "$deb" "$work/root"; done
cd - >/dev/null
library=$(echo "$work"/root/usr/lib/*/libdnnl.so.*.* | cut -d' ' -f1)
export CPLUS_INCLUDE_PATH=$work/root/usr/include
export LD_LIBRARY_PATH=$(dirname "$library")
node_include=$(node -p "require('path').resolve(process.execPath, '../../include/node')")
cmake -S native -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DNODE_INCLUDE_DIR="$node_include" \
  -DDNNL_INCLUDE_DIR="$work/root/usr/include" -DDNNL_LIBRARY="$library" >/dev/null
cmake --build "$work/build" --parallel "$(nproc)"
addon=$work/build/merak.node
if ! node -e "require('$addon')" 2>"$work/load.log"; then
  echo "built against $(basename "$library"); this machine cannot load it: $(grep -m1 -i 'glibc\|error' "$work/load.log")"
  exit 0
fi
MERAK_ADDON=$addon npx vitest run test/parity/kernels
