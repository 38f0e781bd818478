"""Every stage is a command that explains itself and refuses politely."""

import json

import pytest
from typer.testing import CliRunner

from galaxymill.cli import app

COMMANDS = [
    "ingest",
    "partition",
    "fetch",
    "render",
    "labels",
    "train",
    "evaluate",
    "predict",
    "release",
    "plan",
]
OTHERS = ["encoder", "simulate", "label-images", "compare", "record-run", "reproduce"]
NOWHERE = json.dumps(
    {
        "surveys": {
            "s": {
                "catalog": {"path": "nowhere.csv"},
                "cutouts": {"service": "legacy"},
                "images": {"recipe": "decals"},
            }
        }
    }
)
MISSING = {
    "compare": ["nowhere.parquet", "none.csv"],
    "reproduce": ["nowhere", "--work", "work"],
    "record-run": ["config.yaml", "--release", "r", "--config", NOWHERE, "--workflow", "."],
    "simulate": ["out", "nowhere.yaml"],
    "ingest": ["nowhere.csv", "out.parquet"],
    "partition": ["nowhere.parquet", "out.csv"],
    "fetch": ["nowhere.parquet", "out.parquet", "--service", "legacy"],
    "render": ["nowhere.parquet", "out.parquet", "--survey", "s", "--recipe", "decals"],
    "labels": ["out.parquet", "nowhere.csv", "--tree", "nowhere.yaml"],
    "label-images": ["out.parquet", ".", "nowhere.csv", "--name", "n"],
    "train": [
        *["m/model.yaml", "--votes", "nowhere.parquet", "--images", "none.parquet"],
        *["--set", "encoder=resnet10t"],
    ],
    "encoder": ["m/model.yaml", "--set", "encoder=resnet10t", "--set", "weights=nowhere.yaml"],
    "evaluate": [
        *["e/metrics.json", "--votes", "nowhere.parquet", "--images", "none.parquet"],
        *["--model", "nowhere.yaml"],
    ],
    "predict": ["nowhere.parquet", "--model", "nowhere.yaml", "--out", "p.parquet"],
    "release": [
        *["nowhere.csv", "r/SHA256SUMS", "--name", "r", "--model", "nowhere.yaml"],
        *["--cutouts", "c", "--images", "i", "--predictions", "p"],
    ],
    "plan": ["nowhere.csv", "--service", "legacy"],
}


@pytest.mark.parametrize("command", [*COMMANDS, *OTHERS])
def test_help_says_what_a_command_does(command):
    done = CliRunner().invoke(app, [command, "--help"], prog_name="galaxymill")
    assert done.exit_code == 0
    assert f"galaxymill {command}" in done.stdout
    told = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(told) > 5
    assert len(" ".join(told[1:]).split()) > 20


@pytest.mark.parametrize("command", [*COMMANDS, *OTHERS])
def test_a_missing_file_is_one_message(new_mill, command):
    done = new_mill.galaxymill(command, *MISSING[command])
    printed = done.stdout + done.stderr
    assert done.returncode == 2, printed
    assert "Traceback" not in printed
    assert "nowhere" in printed or "none.parquet" in printed
    left = [path for path in new_mill.folder.rglob("*") if path.is_file()]
    assert not left, left


def test_the_commands_are_the_stages(new_mill):
    printed = new_mill.galaxymill("--help").stdout
    for command in [*COMMANDS, *OTHERS]:
        assert f" {command} " in printed


def test_an_unknown_setting_lists_those_allowed(new_mill):
    done = new_mill.galaxymill(
        "render", "a.parquet", "b.parquet", "--survey", "s", "--recipe", "decals", "--set", "sze=3"
    )
    assert done.returncode == 2
    assert "sze" in done.stderr
    assert "size" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_service_lists_those_allowed(new_mill):
    done = new_mill.galaxymill("fetch", "a.parquet", "b.parquet", "--service", "panstars")
    assert done.returncode == 2
    for name in ("panstars", "files", "legacy", "simulated"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr
