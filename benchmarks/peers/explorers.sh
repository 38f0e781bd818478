#!/usr/bin/env bash
# Set up datamapplot and embedding-atlas, which the explorer is printed beside, in an environment
# of their own (some 8 GB, as embedding-atlas asks for torch). Does nothing when that is done.
set -euo pipefail
cd "$(dirname "$0")"

venv=.explorers-venv
if ! cmp --silent explorers.txt "$venv/installed.txt"; then
    "${PYTHON:-python3.11}" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r explorers.txt
    cp explorers.txt "$venv/installed.txt"
fi
