"""Put the workflow into the package when it is built; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PARTS = ("Snakefile", "workflow", "config", "profiles")


class WithWorkflow(build_py):
    """Also copy the workflow, which lies beside the package in a checkout."""

    def run(self) -> None:
        """Copy it to ``galaxymill/_workflow``, unless the package is installed in place."""
        super().run()
        if self.editable_mode:
            return
        root, target = Path(__file__).parent, Path(self.build_lib, "galaxymill", "_workflow")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in PARTS:
            source = root / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, target / name)


setup(cmdclass={"build_py": WithWorkflow})
