"""Pages keep their word: links lead somewhere, and every command that they show is understood.

Commands of tutorials that are not in these blocks run when the documentation is built.
"""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
from snakemake.cli import get_argument_parser

from galaxymill.cli import app

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / "docs" / "reference" / "generated"
"""Pages that Sphinx makes, and whose links it looks after."""
PAGES = [*ROOT.glob("*.md"), ROOT / "config" / "README.md"]
PAGES += [
    page
    for page in ROOT.glob("docs/**/*.md")
    if MADE not in page.parents and "_build" not in page.parts
]
SNAKEFILES = [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")]
RULES = {
    name for path in SNAKEFILES for name in re.findall(r"^rule (\w+):", path.read_text(), re.M)
}
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OF_THE_SYSTEM = {"$EDITOR", "cd", "conda", "cp", "export", "mkdir", "ssh", "tmux"}


def prose(page):
    """Text of a page without its blocks of code."""
    return re.sub(r"^( *)(`{3,})[^\n]*\n.*?^\1\2$", "", page.read_text(), flags=re.M | re.S)


def anchors(page):
    """Anchors of a page's headings, as GitHub and Sphinx spell them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", one.strip().lower()).replace(" ", "-") for one in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if there.parent != MADE:
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("name", ["search", "genindex", "py-modindex"])
def test_no_page_has_the_name_of_one_that_sphinx_writes(name):
    assert not (ROOT / "docs" / f"{name}.md").exists()


def commands(page):
    """Commands of a page's console blocks, each on one line, with the page's own variables."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```$", page.read_text(), re.M | re.S)
    lines = re.findall(r"^ *\$ (.*)$", re.sub(r"\\\n\s*", "", "".join(blocks)), re.M)
    variables = dict(re.findall(r'^(\w+)="(.*)"$', "\n".join(lines), re.M))
    for line in lines:
        known = re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), line)
        yield from (shlex.split(one, comments=True) for one in known.split("&&"))


SHOWN = [(page.name, words) for page in PAGES for words in commands(page)]


def read_words(command, words):
    """Read words as a command does, without calling it."""
    context = command.make_context(command.name, list(words))
    if hasattr(command, "commands"):
        _, inner, rest = command.resolve_command(context, list(words))
        read_words(inner, rest)


@pytest.mark.parametrize(("page", "words"), SHOWN, ids=lambda one: " ".join(one)[:60])
def test_commands_are_understood(page, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, *rest = words
    if program == "galaxymill":
        read_words(typer.main.get_command(app), rest)
    if words[:2] == ["galaxymill", "run"]:
        program, rest = "snakemake", words[words.index("--") + 1 :]
    if program == "snakemake":
        assert set(get_argument_parser().parse_args(rest).targets) <= RULES
    elif program == "make":
        assert set(rest) <= TARGETS
    elif program == "pip":
        named = re.findall(r"\[(.*)\]", rest[-1])
        assert {one for some in named for one in some.split(",")} <= EXTRAS.keys()
    elif program != "galaxymill":
        assert program in OF_THE_SYSTEM or "=" in program
