"""What the hidden cells of tutorials use: commands, files and pictures, shown as readers meet them.

`conf.py` puts this folder on the path of the notebooks, and names `SHARED`, which lives as long as
the build: several tutorials go on from what the first one made, which is made there once.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from IPython.display import IFrame, Markdown, display

PAGES = Path(__file__).parents[1] / "tutorials"
SHARED = Path(os.environ["GALAXYMILL_TUTORIALS"])
EXTRA = Path(__file__).parents[1] / "_build" / "extra"
CONFIG = Path("galaxymill.yaml")

os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
os.environ |= {"PYTHONWARNINGS": "ignore", "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}
os.environ["HF_HOME"] = str(SHARED / "hub")
os.environ.pop("FORCE_COLOR", None)  # of the notebook; commands would draw bars of progress


def begin() -> None:
    """Go to an empty folder."""
    os.chdir(tempfile.mkdtemp(dir=SHARED))


def begin_first() -> None:
    """Go to an empty folder with the config and the tree of the first tutorial."""
    begin()
    shutil.copyfile(PAGES / "first.yaml", CONFIG)
    shutil.copy(PAGES / "short.yaml", ".")


def keep_first() -> None:
    """Keep this folder as what the first tutorial made."""
    if not (SHARED / "first").is_dir():
        shutil.copytree(".", SHARED / "first", symlinks=True)


def continue_first() -> None:
    """Go to a copy of what the first tutorial made."""
    if not (SHARED / "first").is_dir():
        begin_first()
        _run("galaxymill run -- --cores 2")
        keep_first()
    folder = Path(tempfile.mkdtemp(dir=SHARED))
    shutil.copytree(SHARED / "first", folder, symlinks=True, dirs_exist_ok=True)
    os.chdir(folder)


JOBS = r"^job  .*?(?=\n\n)"
"""Of what a dry run prints: its table of jobs."""
NOTHING = r"\A"
"""Of a command whose log says nothing that matters here."""


def shell(command: str, part: str = "", last: int = 0) -> None:
    """Show a command and what it prints: all, the first ``part`` of it that matches, or the end."""
    printed = _run(command).replace(str(Path.cwd()), "~/galaxies").strip()
    lines = printed.splitlines()
    if part:
        found = re.search(part, printed, re.M | re.S)
        assert found, f"{command} prints no {part}: {printed[-2000:]}"
        lines = ["…", *found[0].splitlines(), "…"] if found[0] else []
    elif 0 < last < len(lines):
        lines = ["…", *lines[-last:]]
    print("\n".join([f"$ {command}", *lines]))


def _run(command: str) -> str:
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, shell=True, **both)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def write(name: str, text: str) -> None:
    """Write a file, and show it."""
    Path(name).write_text(text)
    display(Markdown(f"```yaml\n{text}```"))


def section(text: str) -> None:
    """Put sections into the config, in the place of those of the same names, and show them."""
    config = CONFIG.read_text()
    for name in re.findall(r"^(\w+):", text, re.M):
        config = re.sub(rf"^{name}:.*\n(?: .*\n)*", "", config, flags=re.M)
    CONFIG.write_text(config + text)
    display(Markdown(f"```yaml\n{text}```"))


def publish(folder: str, name: str, height: int = 900) -> None:
    """Make a folder that opens in a browser part of the site, and show its page."""
    shutil.copytree(folder, EXTRA / name, dirs_exist_ok=True)
    display(IFrame(f"../{name}/index.html", "100%", height))
