"""The config to start from: of every service, read as it is."""

import pytest
import yaml

from galaxymill.config.files import load_config
from galaxymill.config.starter import STARTED, write_starter
from galaxymill.errors import UserError
from galaxymill.paths import CONFIG
from galaxymill.surveys.registry import SERVICES

MADE_BY_HAND = {"simulated": "truth", "hips2fits": "hips", "sia": "server", "tiles": "table"}
"""Services that need a key which nobody can guess."""


@pytest.mark.parametrize("service", STARTED)
def test_it_is_read_as_it_is(service, tmp_path, monkeypatch, trees):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / CONFIG
    write_starter(out, service, "decals_dr5", trees)
    for name in ("GALAXIES.csv", "VOTES.csv"):
        (tmp_path / name).touch()
    plain = yaml.safe_load(out.read_text())
    if service in MADE_BY_HAND:
        with pytest.raises(UserError, match=MADE_BY_HAND[service]):
            load_config(plain, str(CONFIG), trees)
        return
    config = load_config(plain, str(CONFIG), trees)
    assert config.surveys["mine"].cutouts.service == service
    assert set(config.releases) == {"mine"}


@pytest.mark.parametrize("service", STARTED)
def test_what_stands_behind_a_hash_is_the_default(service, tmp_path, trees):
    """With every such key set free, the config says the same."""
    out = tmp_path / CONFIG
    write_starter(out, service, "gz2", trees)
    text = out.read_text()
    lines = text.splitlines()
    start, end = lines.index(f"      service: {service}"), lines.index("    images:")
    free = [line.replace("      # ", "      ", 1) for line in lines[start:end]]
    one, other = (
        yaml.safe_load("\n".join(some))["cutouts"]
        for some in (["cutouts:", *lines[start:end]], ["cutouts:", *free])
    )
    assert other == one | other
    for name in one.keys() | other.keys():
        field = SERVICES[service].settings.model_fields.get(name)
        if field and not field.is_required():
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert other[name] == default, name


def test_without_a_tree_there_are_images_only(tmp_path, trees):
    out = tmp_path / CONFIG
    write_starter(out, "files", "", trees)
    assert set(yaml.safe_load(out.read_text())) == {"surveys"}


def test_what_is_there_stays(tmp_path, trees):
    out = tmp_path / CONFIG
    out.write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        write_starter(out, "legacy", "", trees)
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("service", "tree", "message"),
    [
        ("legasy", "", "--service: unknown service 'legasy'; allowed: euclid, files"),
        ("observed", "", "--service: unknown service 'observed'"),
        ("legacy", "galaxy_zoo", "galaxy_zoo"),
    ],
)
def test_unknown_names_are_refused(tmp_path, trees, service, tree, message):
    with pytest.raises(UserError, match=message):
        write_starter(tmp_path / CONFIG, service, tree, trees)
    assert not (tmp_path / CONFIG).exists()
