"""Real galaxies from end to end: learn from Galaxy Zoo 2, catalogue two DECaLS surveys.

One survey is read from image files, the other is replayed over HTTP from real answers of the
Legacy Surveys service, of which one has bad pixels, one is truncated, and four are of another
size than the one that is asked for.
"""

import csv
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import lsdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.coordinates import SkyCoord
from astropy.io import fits

from galaxymill import flags

SIZE = 424


def sky_position(name: str) -> SkyCoord:
    """Position in a name such as J141857.36+002156.1."""
    match = re.fullmatch(r"J(\d\d)(\d\d)([\d.]+)([+-])(\d\d)(\d\d)([\d.]+)", name)
    assert match is not None
    h, m, s, sign, d, arcmin, arcsec = match.groups()
    return SkyCoord(f"{h}h{m}m{s}s {sign}{d}d{arcmin}m{arcsec}s")


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Replay(http.server.BaseHTTPRequestHandler):
    """Answers a cutout request with the real file whose centre is nearest."""

    files: dict[Path, tuple[float, float]]

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        ra, dec = float(query["ra"][0]), float(query["dec"][0])
        distance = {p: np.hypot(ra - r, dec - d) for p, (r, d) in self.files.items()}
        body = min(distance, key=lambda path: distance[path]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def replay(shared_data: Path) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """A server of the real FITS cutouts, and their centres by name."""
    Replay.files, centres = {}, {}
    for path in sorted((shared_data / "legacy_grz_fits").glob("*.fits")):
        header = fits.getheader(path)
        centre = (header["CRVAL1"], header["CRVAL2"])
        if centre in Replay.files.values():
            continue  # the same galaxy at another scale
        Replay.files[path] = centres[path.stem] = centre
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replay)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", centres
    server.shutdown()


@pytest.fixture(scope="module")
def results(
    root: Path,
    shared_data: Path,
    replay: tuple[str, dict[str, tuple[float, float]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The results of the whole run."""
    work = tmp_path_factory.mktemp("real")
    url, centres = replay
    with (shared_data / "rings_decals_png" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        position = sky_position(row["object_id"])
        row.update(ra=position.ra.deg, dec=position.dec.deg)
    write_csv(work / "rings.csv", rows)
    replayed = [{"name": name, "ra": ra, "dec": dec} for name, (ra, dec) in centres.items()]
    write_csv(work / "fits.csv", replayed)
    predict = {"allow_domain_shift": True, "samples": 2}
    config = {
        "surveys": {
            "rings": {
                "catalog": {"path": "rings.csv", "file_loc": "file_loc", "keep": ["ring"]},
                "cutouts": {"service": "files", "folder": str(shared_data / "rings_decals_png")},
                "images": {"recipe": "passthrough", "size": 128},
            },
            "decals": {
                "catalog": {"path": "fits.csv", "object_id": "name"},
                "cutouts": {"service": "legacy", "server": url, "size": SIZE},
                "images": {"recipe": "decals", "size": SIZE},
            },
        },
        "labels": {
            "gz2": {
                "votes": str(shared_data / "gz2_sdss_jpeg" / "votes.csv"),
                "tree": "gz2",
                "images": {"folder": str(shared_data / "gz2_sdss_jpeg"), "size": 96},
            }
        },
        "models": {
            "gz2": {
                "labels": "gz2",
                "train": {
                    "encoder": "test_efficientnet_gn",
                    "image_size": 64,
                    "zoom": [1.3, 1.7],
                    "epochs": 15,
                    "batch_size": 32,
                    "learning_rate": 0.005,
                },
            }
        },
        "predictions": {
            "rings": {"survey": "rings", "model": "gz2", **predict},
            "decals": {"survey": "decals", "model": "gz2", **predict},
        },
        "releases": {"rings": {"predictions": "rings"}, "decals": {"predictions": "decals"}},
        "network": {
            # A partition here is one galaxy, and some of these are broken.
            "legacy": {"requests_per_second": 100, "contact": "tests", "max_failed": 1}
        },
    }
    (work / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "-s", str(root / "Snakefile"), "-d", str(work)]
    command += ["--configfile", str(work / "config.yaml"), "--cores", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return work / "results"


def test_the_model_has_learned_from_real_votes(results: Path) -> None:
    metrics = json.loads((results / "evaluations/gz2/metrics.json").read_text())
    first = metrics["questions"]["smooth-or-featured-gz2"]
    assert first["n"] > 100
    assert first["rmse"] < 0.95 * first["baselines"]["constant"]["rmse"]


@pytest.mark.parametrize(("name", "rows"), [("rings", 100), ("decals", 9)])
def test_the_release_has_every_galaxy_once_and_says_the_shift(
    results: Path, name: str, rows: int
) -> None:
    release = results / "releases" / name
    table = pq.read_table(release / "friendly.parquet")
    assert table.num_rows == rows == len(set(table["object_id"].to_pylist()))
    assert len(lsdb.open_catalog(release / "hats").compute()) == rows
    shift = flags.BITS["domain_shift"]
    assert all(bits & shift for bits in table["flags"].to_pylist())
    readme = (release / "README.md").read_text()
    assert "domain" in readme
    assert "gz2" in readme


def test_rings_are_catalogued_from_their_files(results: Path) -> None:
    table = pq.read_table(results / "releases/rings/friendly.parquet").to_pydict()
    assert set(table["status"]) == {"ok"}
    assert sum(table["ring"]) == 50
    smooth = np.array(table["smooth-or-featured-gz2_smooth_fraction"])
    assert ((smooth > 0) & (smooth < 1)).all()


def test_real_cutouts_that_are_broken_are_rows_with_flags(results: Path) -> None:
    table = pq.read_table(results / "releases/decals/advanced.parquet").to_pylist()
    by_name = {row["object_id"]: row for row in table}
    good = {"zoodecals_example", "zoodecals_example_a", "zoodecals_example_a_py"}
    good |= {"zoodecals_example_c"}
    for name, row in by_name.items():
        # The server replays cutouts of whatever scale they were taken at.
        found = set(flags.names(row["flags"])) - {"domain_shift", "scale_differs"}
        fraction = row["smooth-or-featured-gz2_smooth_fraction"]
        if name in good:
            assert (row["status"], found) == ("ok", set())
            assert 0 < fraction < 1
        else:
            assert found
            assert fraction is None
    assert "zero_or_nan_above_20pc" in flags.names(by_name["zoodecals_example_bad_pix"]["flags"])
    broken = by_name["zoodecals_example_incomplete"]
    # Cut short each time it is asked for: that may pass, so it is asked for again another day.
    assert broken["status"] == "failed"
    assert "fetch_failed" in flags.names(broken["flags"])
