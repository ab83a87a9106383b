#!/usr/bin/env bash
# The whole pipeline on real hero art: the portraits of Debian's wesnoth-1.16-data (GPL and CC BY-SA art, never committed).
#
#   runs/wesnoth.sh                 # into ./wesnoth, 30 minutes of training
#   runs/wesnoth.sh /tmp/heroes 2h
set -euo pipefail

out=${1:-wesnoth}
time=${2:-30m}
figment=${FIGMENT:-figment}

# Fetch and unpack the package without installing it; art of the campaigns is left for evaluation.
mkdir -p "$out/package"
if [ ! -d "$out/package/usr" ]; then
    (cd "$out/package" && apt-get download wesnoth-1.16-data && dpkg -x wesnoth-1.16-data_*.deb .)
fi
portraits=$out/package/usr/share/games/wesnoth/1.16/data/core/images/portraits

# One command does the rest; running this script again continues where it stopped.
"$figment" make "$portraits" -o "$out" --resolution 64 --time "$time"
"$figment" mix "$out/runs/00000-heads" -o "$out/out/mix.png"
