"""No stage's source changes unnoticed: its version is raised, or somebody says it need not be."""

import ast
import json
from dataclasses import replace

import pytest

from galaxymill import stage_sources
from galaxymill.stage_sources import Change, changes, read_record, sources, write_record
from galaxymill.stages import STAGES, Stage

FETCH = Stage("fetch", 3, ("surveys.fetch",), "", "")


def test_every_stage_is_on_record(root):
    """When this fails, do what it says; then commit the record with the change."""
    found = changes(read_record(root / stage_sources.RECORD))
    assert not found, "\n".join(map(str, found))


def test_every_stage_has_entry_modules():
    assert all(sources(stage) for stage in STAGES)


def test_a_source_is_what_a_stage_imports():
    source = sources("render")
    assert {"images/render.py", "images/colours.py", "storage/parquet.py"} <= set(source)
    assert not [name for name in source if name.startswith(("training/", "surveys/", "cli"))]
    # Imported inside a function.
    assert "models/initial.py" in sources("train")
    assert "errors.py" not in source


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules, of which two are the stage ``fetch``; its record is written."""
    folder = tmp_path / "galaxymill"
    (folder / "surveys").mkdir(parents=True)
    (folder / "surveys/fetch.py").write_text("from galaxymill.surveys import ask\nX = 1\n")
    (folder / "surveys/ask.py").write_text('"""Ask."""\n\ndef ask():\n    return 1\n')
    (folder / "surveys/other.py").write_text("Y = 1\n")
    monkeypatch.setattr(stage_sources, "PACKAGE", folder)
    monkeypatch.setattr(stage_sources, "STAGES", {"fetch": FETCH})
    write_record(tmp_path / "record.json")
    return folder


def found(package):
    return changes(read_record(package.parent / "record.json"))


@pytest.mark.parametrize(
    "text",
    [
        '"""Ask, in other words."""\n\ndef ask():\n    return 1\n',
        "# Why.\ndef ask():\n    '''Ask.'''\n\n    return 1  # one\n",
        "def ask(): return (1)",
    ],
)
def test_words_and_layout_are_no_source(package, text):
    (package / "surveys/ask.py").write_text(text)
    (package / "surveys/other.py").write_text("Y = 2\n")
    assert found(package) == []


def test_a_change_asks_for_a_version(package):
    (package / "surveys/ask.py").write_text("def ask():\n    return 2\n")
    (change,) = found(package)
    assert change == Change("fetch", 3, 3, ("surveys/ask.py",))
    assert "raise 'fetch' in src/galaxymill/stages.py to 4" in str(change)
    assert "make stages" in str(change)
    write_record(package.parent / "record.json")
    assert found(package) == []


def test_a_new_version_asks_for_the_record(package, monkeypatch):
    monkeypatch.setattr(stage_sources, "STAGES", {"fetch": replace(FETCH, version=4)})
    (change,) = found(package)
    assert change == Change("fetch", 3, 4, ())
    assert "version 4 is not on record yet" in str(change)


def test_a_module_that_came_or_went_is_a_change(package):
    (package / "surveys/fetch.py").write_text("from galaxymill.surveys import other\nX = 1\n")
    (change,) = found(package)
    assert change.modules == ("surveys/ask.py", "surveys/fetch.py", "surveys/other.py")


def test_main_says_what_it_records(package, capsys):
    (package / "surveys/ask.py").write_text("def ask():\n    return 2\n")
    stage_sources.main(package.parent / "record.json")
    assert capsys.readouterr().err == "fetch 3: output unchanged: surveys/ask.py\n"
    assert found(package) == []


def test_what_is_empty_is_left_out():
    """Python 3.12 gives functions empty lists of type parameters, and f-strings empty pieces."""
    plain = stage_sources._plain(ast.parse("def f(): return 1"))
    assert "type_params" not in json.dumps(plain)
    tree = ast.parse("f'{x}'")
    before = stage_sources._plain(tree)
    tree.body[0].value.values.append(ast.Constant(""))
    assert stage_sources._plain(tree) == before
