"""A new key with a default runs nothing again: a product is known by what was chosen."""

import ast
import importlib
import json
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import galaxymill
from galaxymill.models.store import read_card
from galaxymill.settings import Strict

PACKAGE = Path(galaxymill.__file__).parent
NEW_KEY = "brand_new: int = 7"

SPELL = """
import json, sys
from pathlib import Path
import yaml
from galaxymill.config.files import load_config
from galaxymill.images.render import domain
from galaxymill.models.store import read_card
from galaxymill.reproduction.closure import describe_run
from galaxymill.surveys.fetch import cutouts_origin

plain = yaml.safe_load(open("config.yaml"))
config = load_config(plain, "config.yaml", Path(sys.argv[1], "config/trees"))
survey, labels = config.surveys["mini"], config.labels["volunteers"]
tile = next(Path("results/surveys/mini/catalog/tiles").iterdir())
card = read_card(Path("results/models/mini/model.yaml"))
print(json.dumps({
    "catalog": survey.catalog.settings().to_flags(),
    "cutouts": survey.cutouts.to_flags(),
    "cutouts origin": cutouts_origin(tile, "simulated", survey.cutouts.settings).to_dict(),
    "images": survey.images.to_flags(),
    "domain": domain("mini", "decals", survey.images.settings),
    "labels": labels.to_flags(),
    "train": config.models["mini"].train.to_flags(),
    "predict": config.predictions["said"].settings().to_flags(),
    "release": config.releases["mini"].settings().to_flags(),
    "run": describe_run(plain, config, "mini").settings,
    "model": card.digest,
    "card": card.settings.product_settings(),
    "new keys": len([k for k in type(card.settings).model_fields if k == "brand_new"]),
}))
"""


def models(base: type = Strict) -> Iterator[type]:
    """Every class of the config, and of the settings of every stage."""
    for model in base.__subclasses__():
        yield model
        yield from models(model)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """A copy of the package in which every such class has one key more."""
    for module in pkgutil.walk_packages([str(PACKAGE)], "galaxymill."):
        importlib.import_module(module.name)
    folder = tmp_path_factory.mktemp("grown")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "galaxymill", ignore=ignored)
    wanted: dict[str, set[str]] = {}
    for model in models():
        if model.__module__.startswith("galaxymill."):
            wanted.setdefault(model.__module__, set()).add(model.__name__)
    assert sum(map(len, wanted.values())) > 30
    for module, names in wanted.items():
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        lines = path.read_text().splitlines()
        classes = [node for node in ast.walk(ast.parse("\n".join(lines))) if is_class(node, names)]
        assert {node.name for node in classes} == names
        for node in sorted(classes, key=lambda node: -node.lineno):
            docstring = node.body[0]
            lines.insert(docstring.end_lineno, f"    {NEW_KEY}")
        path.write_text("\n".join(lines) + "\n")
    return folder


def is_class(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.ClassDef) and node.name in names


def spelled(finished, root: Path, package: Path) -> dict:
    environment = {**finished.environment, "PYTHONPATH": str(package)}
    call = [sys.executable, "-c", SPELL, str(root)]
    done = subprocess.run(
        call, cwd=finished.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_new_key_changes_no_params_and_no_digests(finished, mini_config, root, grown):
    finished.command()  # Writes the config.
    before = spelled(finished, root, PACKAGE.parent)
    after = spelled(finished, root, grown)
    assert (before.pop("new keys"), after.pop("new keys")) == (0, 1)
    assert after == before


def test_a_new_key_runs_nothing_again(finished, grown):
    environment = {**finished.environment, "PYTHONPATH": str(grown)}
    done = subprocess.run(
        finished.command("-n"), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_model_of_an_older_version_is_read(finished, tmp_path):
    """One that spells every setting is the same model as one that spells those chosen."""
    import yaml

    path = finished.folder / "results/models/mini/model.yaml"
    card = read_card(path)
    plain = yaml.safe_load(path.read_text())
    assert plain["settings"] == card.settings.product_settings()
    left_out = set(card.settings.operational)
    plain["settings"] = card.settings.model_dump(mode="json", exclude=left_out)
    old = tmp_path / "model.yaml"
    old.write_text(yaml.safe_dump(plain))
    assert len(plain["settings"]) > len(card.settings.product_settings())
    assert read_card(old).digest == card.digest
