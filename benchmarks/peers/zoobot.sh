#!/usr/bin/env bash
# Set up Zoobot 2.9, the peer that the benchmarks compare with, in an environment of its own:
# it wants other versions than ours. Does nothing when that is done already (some 6 GB).
#
# --no-deps, as zoobot.txt is complete: of what the packages ask for it leaves out astropy,
# matplotlib and torchaudio, which training does not use.
set -euo pipefail
cd "$(dirname "$0")"

venv=.zoobot-venv
if ! cmp --silent zoobot.txt "$venv/installed.txt"; then
    "${PYTHON:-python3.11}" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r zoobot.txt
    cp zoobot.txt "$venv/installed.txt"
fi
