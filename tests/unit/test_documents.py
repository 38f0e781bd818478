"""Documents that are generated or that name things must not drift from the code."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import yaml

from galaxymill import flags
from galaxymill.config import docs as config_docs
from galaxymill.config.files import load_config
from galaxymill.images.recipes import RECIPES
from galaxymill.stages import STAGE_VERSIONS, STAGES

COMMANDS = {"explore": "explore_partition", "explorer": "build_explorer"}
COMMANDS |= {"interest": "fit_interest", "rate": "rate_partition", "interesting": "report_interest"}
COMMANDS |= {"choose": "choose_subjects", "judge": "judge_round", "history": "report_rounds"}
"""Of stages whose command has another name."""


def test_schema_and_page_of_the_config_are_up_to_date(root: Path) -> None:
    assert json.loads((root / "config/schema.json").read_text()) == config_docs.schema()
    assert (root / "config/README.md").read_text() == config_docs.page(), "run `make schema`"


def test_the_pages_example_is_a_valid_config(
    root: Path, trees: Path, tmp_path, monkeypatch
) -> None:
    example = re.search(r"```yaml\n(.*?)```", (root / "config/README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gz2").mkdir()
    for name in ("dwarfs.csv", "gz2/votes.csv"):
        (tmp_path / name).touch()
    config = load_config(yaml.safe_load(example.group(1)), "example", trees)
    assert set(config.releases) == {"dwarfs-v1"}


def test_the_page_on_images_lists_every_flag_and_recipe(root: Path) -> None:
    page = (root / "docs/images.md").read_text()
    for flag in flags.FLAGS:
        assert f"| `{flag.name}` | {flag.bit} | {flag.description} |" in page
    for name in RECIPES:
        assert f"| `{name}` |" in page


def test_architecture_names_every_room(root: Path) -> None:
    page = (root / "ARCHITECTURE.md").read_text()
    package = root / "src" / "galaxymill"
    for folder in package.iterdir():
        if (folder / "__init__.py").is_file():
            assert f"`{folder.name}/`" in page
    for module in package.glob("[a-z]*.py"):
        assert module.name in page, f"ARCHITECTURE.md does not name {module.name}"


def test_modules_are_short(root: Path) -> None:
    long = {
        str(path.relative_to(root)): length
        for path in [*root.glob("src/**/*.py"), *root.glob("workflow/rules/*.smk")]
        if (length := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_every_stage_has_a_command(root: Path) -> None:
    commands = (root / "src/galaxymill/commands").glob("*.py")
    source = "".join(path.read_text() for path in commands)
    for stage in STAGE_VERSIONS:
        name = COMMANDS.get(stage, stage)
        assert re.search(rf"def {name}_?\(", source), stage


def test_benchmarks_are_looked_for_where_the_rules_write_them(root: Path) -> None:
    rules = "".join(path.read_text() for path in root.glob("workflow/rules/*.smk"))
    written = re.findall(r'"<benchmarks>/(.+?)"', rules)
    assert len(written) > len(STAGES) - 2
    for name in STAGES.keys() - {"plan"}:
        assert any(fnmatch(path, f"{name}/{STAGES[name].benchmarks}") for path in written), name


def test_the_lock_file_pins_what_the_project_needs(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    lines = (root / "envs/requirements.lock").read_text().lower().replace("_", "-").splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    for requirement in wanted:
        name = re.split(r"[><=\[ ]", requirement)[0].lower().replace("_", "-")
        assert name in pinned, f"{name} is not in envs/requirements.lock"
