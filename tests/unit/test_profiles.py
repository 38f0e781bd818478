"""Profiles and environments: what they spell, and that it is YAML at all."""

import pytest
import yaml
import yte

from galaxymill.cluster.orphans import PREFIX

ON_GPUS = ("train_model", "evaluate_model", "predict_partition")
FROM_AFAR = ("fetch_cutouts", "download_file")


@pytest.fixture
def profile(root):
    """Function that reads the SLURM profile as Snakemake does, with values set by the user."""
    plain = yaml.safe_load((root / "profiles/slurm/profile.yaml").read_text())

    def read(**values):
        assert values.keys() <= plain["__variables__"].keys()
        changed = plain | {"__variables__": plain["__variables__"] | values}
        return yte.process_yaml(yaml.safe_dump(changed, sort_keys=False), require_use_yte=True)

    return read


def test_what_must_be_set_stands_in_one_block(root):
    told, rest = (root / "profiles/slurm/profile.yaml").read_text().split("\ndefault-resources:")
    assert told.count("CHANGE_ME") == 3
    assert "CHANGE_ME" not in rest


def test_values_of_the_block_go_where_they_belong(profile):
    read = profile(account="a", cpu_partition="c", gpu_partition="g", gpu_threads=8)
    assert read["default-resources"]["slurm_account"] == "a"
    assert read["default-resources"]["slurm_partition"] == "c"
    partitions = {rule: one["slurm_partition"] for rule, one in read["set-resources"].items()}
    assert partitions == dict.fromkeys(ON_GPUS, "g") | dict.fromkeys(FROM_AFAR, "c")
    assert read["set-threads"] == dict.fromkeys(ON_GPUS, 8)
    assert "precommand" not in read


@pytest.mark.parametrize(("gpu", "asked"), [("none", {"gres": ""}), (1, {"gres": "", "gpu": 1})])
def test_other_ways_to_ask_for_gpus(profile, gpu, asked):
    read = profile(gpu=gpu, gpu_partition="g")["set-resources"]
    for rule in ON_GPUS:
        assert read[rule] == {"slurm_partition": "g", **asked}


def test_constraints_and_what_is_set_up(profile):
    read = profile(gpu_constraint="a100|h100", setup="module load cuda")
    assert {read["set-resources"][rule]["constraint"] for rule in ON_GPUS} == {"'a100|h100'"}
    assert read["precommand"] == "module load cuda"


def test_the_names_of_jobs_are_those_that_orphans_are_known_by(profile):
    assert profile()["slurm-jobname-prefix"] == PREFIX


def test_each_line_is_explained(root):
    for name in ("default", "slurm"):
        lines = (root / f"profiles/{name}/profile.yaml").read_text().splitlines()
        keys = [line for line in lines if line[:1].isalpha() and not line.endswith(":")]
        assert keys
        assert [line for line in keys if "#" not in line] == []


@pytest.mark.parametrize(("name", "flag"), [("cpu", "-c"), ("gpu", "-r")])
def test_conda_environments_are_those_of_the_lock_file(root, name, flag):
    """They cannot be built here."""
    environment = yaml.safe_load((root / f"envs/environment-{name}.yaml").read_text())
    lock = (root / "envs/requirements.lock").read_text().splitlines()
    assert environment["name"] == f"galaxymill-{name}"
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *plain, from_pip = environment["dependencies"]
    assert from_pip == {"pip": [f"{flag} requirements.lock", "-e ..[demo]"]}
    versions = dict(one.partition("=")[::2] for one in plain)
    assert {"python", "pip"} <= set(versions)
    if name == "cpu":
        assert f"torch=={versions['pytorch-cpu']}" in lock
        assert f"torchvision=={versions['torchvision']}" in lock
