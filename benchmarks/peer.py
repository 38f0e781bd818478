"""Zoobot, which the benchmarks of training compare with, in its own environment."""

import os
import subprocess
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
PYTHON = PEERS / ".zoobot-venv" / "bin" / "python"


def is_installed() -> bool:
    """Tell whether the environment is there."""
    return PYTHON.exists()


def run_zoobot(script: str, **options: object) -> str:
    """Run a script of ``peers/`` in the environment, which is made first where it is not there.

    Parameters
    ----------
    script : str
        E.g. ``"zoobot_train.py"``.
    **options : object
        Its options, e.g. ``batch=64``.

    Returns
    -------
    str
        What it prints.
    """
    subprocess.run([PEERS / "zoobot.sh"], check=True)
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    # As our own commands do: threads that spin while they wait starve each other on busy cores.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    done = subprocess.run(
        [PYTHON, PEERS / script, *words], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr}")
    return done.stdout
