"""Snakemake that asks SLURM each second: for tests alone.

The plugin heeds only the wait before its first question, and then waits 10 s longer after each
poll in which no job succeeded. Only the main process is changed; jobs run plain Snakemake.
"""

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.next_seconds_between_status_checks = property(
    lambda self: 1, lambda self, value: None
)
main(sys.argv[1:])
