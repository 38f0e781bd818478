"""Zoobot, which the benchmarks of training compare with, in its own environment."""

import os
import subprocess
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
PYTHON = PEERS / ".zoobot-venv" / "bin" / "python"
# As our own commands do: threads that spin while they wait starve each other on busy cores.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ


def is_installed() -> bool:
    """Tell whether the environment is there."""
    return PYTHON.exists()


def command(script: str, **options: object) -> list[object]:
    """Give the command line of a script of ``peers/``, to be run with ``ENVIRONMENT``.

    Its Python packages are installed first where they are not there.

    Parameters
    ----------
    script : str
        E.g. ``"zoobot_train.py"``.
    **options : object
        Its options, e.g. ``batch=64``.
    """
    subprocess.run([PEERS / "zoobot.sh"], check=True)
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return [PYTHON, PEERS / script, *words]


def run_zoobot(script: str, **options: object) -> str:
    """Run a script of ``peers/``, as `command` says, and give what it prints."""
    done = subprocess.run(
        command(script, **options), capture_output=True, text=True, env=ENVIRONMENT
    )
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr}")
    return done.stdout
