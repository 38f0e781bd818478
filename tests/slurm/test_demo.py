"""The demo through SLURM, beside one made on this machine."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from submission import jobs_of, run_id

ON_GPUS = ("train_model", "evaluate_model", "predict_partition")


@pytest.fixture(scope="module")
def jobs(finished):
    return jobs_of(run_id(finished[1]))


def test_every_job_ended_well_at_its_first_attempt(finished, jobs):
    rules = [job.rule.removeprefix("rule_").split("_wildcards_")[0] for job in jobs]
    once = ("simulate_sky", "ingest_catalog", "partition_catalog", "collect_labels")
    then = ("train_model", "evaluate_model", "fit_space", "report_maps", "merge_release")
    parts = ("fetch_cutouts", "render_images", "predict_partition", "project_partition")
    expected = dict.fromkeys(once + then, 1) | dict.fromkeys(parts, 3)
    assert {rule: rules.count(rule) for rule in rules} == expected
    assert {job.state for job in jobs} == {"COMPLETED"}


def test_what_uses_a_model_asks_for_gpus_and_the_others_do_not(jobs):
    for job in jobs:
        on_gpus = any(rule in job.rule for rule in ON_GPUS)
        assert job.partition == ("gpu" if on_gpus else "cpu"), job
        assert ("gres/gpu=1" in job.resources) == on_gpus, job


def test_the_command_before_each_job_is_run(finished):
    assert (finished[0].folder / "set-up").exists()


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished[0].submit("--dry-run")


def test_a_local_run_gives_the_same_release_bit_by_bit(finished, base):
    submitted = finished[0]
    local = replace(submitted, folder=base / "local")
    local.folder.mkdir()
    local.locally("--cores", "2")
    for made in ("predictions", "embeddings", "features", "releases"):
        local.assert_same(submitted, f"results/{made}/**/*.parquet")
    weights = "results/models/demo/weights.safetensors"
    assert (local.folder / weights).read_bytes() == (submitted.folder / weights).read_bytes()


def test_two_nodes_train_together_under_srun(unpredicted, finished):
    config = yaml.safe_load(unpredicted.config.read_text())
    config["models"]["demo"]["train"]["nodes"] = 2
    place = replace(unpredicted, config=unpredicted.folder / "config.yaml")
    place.config.write_text(yaml.safe_dump(config))
    shutil.rmtree(place.folder / "results/models")
    printed = place.submit("results/models/demo/model.yaml")
    (job,) = jobs_of(run_id(printed))
    assert (job.state, job.node) == ("COMPLETED", "g[1-2]")
    assert "gres/gpu=2" in job.resources
    ours, theirs = (
        load_file(one.folder / "results/models/demo/weights.safetensors")
        for one in (place, finished[0])
    )
    for name, weights in ours.items():
        np.testing.assert_allclose(weights, theirs[name], rtol=1e-3, atol=1e-3)
