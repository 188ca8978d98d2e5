#!/bin/sh
# Brings the photographs of `bundled:stamps`: Debian's package tuxpaint-stamps-default (161 MB, GPL-2), unpacked into the
# cache of the person who calls it, outside of the repository. No root is needed where apt's lists are there.
#
#     sh examples/fetch_stamps.sh [SECONDS]      give up after so many seconds; 120 by default
set -eu

seconds="${1:-120}"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/linprobe/stamps"
birds="animals/birds"
installed="${STAMPS_INSTALLED:-/usr/share/tuxpaint/stamps}"
if [ -d "$folder/$birds" ] || [ -d "$installed/$birds" ]; then exit 0; fi

for tool in apt-get dpkg-deb timeout; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "stamps: no $tool here; on another machine unpack Debian's package tuxpaint-stamps-default, and copy its" \
            "usr/share/tuxpaint/stamps to $folder" >&2
        exit 1
    fi
done
mkdir -p "$folder.new"
work="$(mktemp -d "$folder.new/XXXXXX")"
trap 'rm -rf "$work"; rmdir "$folder.new" 2>/dev/null || true' EXIT
# _apt, as which apt downloads for root, may not write here; said once more is said too often.
option="APT::Sandbox::User=$(id -un)"
echo "stamps: fetching Debian's package tuxpaint-stamps-default (161 MB), at most $seconds s" >&2
cd "$work"
if ! timeout "$seconds" apt-get -qq -o "$option" download tuxpaint-stamps-default 2>error; then
    # Without lists there is no such package; only root may fetch them.
    if [ "$(id -u)" -eq 0 ] && timeout "$seconds" apt-get -qq update 2>>error; then
        timeout "$seconds" apt-get -qq -o "$option" download tuxpaint-stamps-default 2>>error || true
    fi
fi
if ! ls ./*.deb >/dev/null 2>&1; then
    echo "stamps: not to be had: $(tail -n 1 error)" >&2
    exit 1
fi
dpkg-deb -x ./*.deb unpacked
# What it is under lies beside what it is.
cp unpacked/usr/share/doc/tuxpaint-stamps-default/copyright unpacked/usr/share/tuxpaint/stamps/COPYRIGHT
mkdir -p "$(dirname "$folder")"
# Whole or not at all; another that was faster is as good.
mv -T unpacked/usr/share/tuxpaint/stamps "$folder" 2>/dev/null || [ -d "$folder/$birds" ]
echo "stamps: unpacked into $folder (GPL-2, see COPYRIGHT there)" >&2
