#!/bin/sh
# Installs from Debian's packages what the tests need and pip cannot give: a browser for the report,
# the real Fashion-MNIST files, the demo's photographs, and strace, which shows which files a process opens.
set -eu

missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
[ -e /usr/share/datasets/fashion-mnist ] || missing="$missing dataset-fashion-mnist"
[ -e /usr/share/tuxpaint/stamps ] || missing="$missing tuxpaint-stamps-default"
command -v strace >/dev/null 2>&1 || missing="$missing strace"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests need$missing; install them by your system's means." >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
echo "Installing$missing from Debian's packages." >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
