"""A round's subjects written as files, and uploaded by Zooniverse's client to a local server."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.rounds.upload.manifest import read_manifest
from galaxymill.rounds.upload.subjects import MAX_BYTES, small_jpeg, write_subjects
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from panoptes_server import (
    CLIENT_ID,
    CLIENT_SECRET,
    CSRF,
    LOGIN,
    PASSWORD,
    PROJECT,
    TOKEN,
    Fault,
    Server,
)

HOSTILE = (
    "J1234+5678, north",
    'the "best" one',
    "two\nlines\r\nand a third",
    "../../etc/passwd",
    " spaces at both ends ",
    "=HYPERLINK(1)",
    "Ω-galaxie-\u202e-ñ",
    "a/b\\c:d*e?f",
    "n" * 300,
    "x.jpg",
    "X.JPG",
    "'; DROP TABLE subjects; --",
    "%2e%2e",
)
PLAIN = tuple(f"galaxy-{number}" for number in range(12))
SECRETS = (LOGIN, PASSWORD, CLIENT_SECRET, TOKEN, CSRF, "s3cr3t-signature")
SUBJECT, LINKS = r"/api/subjects", r"/api/subject_sets/\d+/links/subjects"
MEDIA = r"/media/.*"


def picture(seed, side=24, kind="JPEG"):
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=95)
    return file.getvalue()


def write_round(folder, ids, images=None):
    """Write subjects.parquet and an images product; give the paths of both."""
    images = images or [picture(number) for number in range(len(ids))]
    rows = {name: pa.nulls(len(ids), kind) for name, kind in _quality_types()}
    columns = {
        "object_id": list(ids),
        "image": [{"bytes": one, "path": None} if one else None for one in images],
        "flags": [0] * len(ids),
        "reason": [""] * len(ids),
    }
    origin = Origin("render", {}, {}, {"survey": "s", "recipe": "passthrough"})
    product = folder / "g0-k1-p0.parquet"
    write_product(product, pa.table(columns | rows, products.IMAGES), origin, products.IMAGES)
    chosen = {
        "object_id": list(reversed(ids)),
        "stratum": ["random", "mutual_information"] * (len(ids) // 2) + ["random"] * (len(ids) % 2),
        "score": np.linspace(0, 1, len(ids)),
        "selection_probability": np.linspace(0.125, 1, len(ids)),
        "round": [3] * len(ids),
        "ra": np.linspace(150, 151, len(ids)),
        "dec": [None, *np.linspace(2, 3, len(ids) - 1)],
    }
    subjects = folder / "subjects.parquet"
    pq.write_table(pa.table(chosen), subjects)
    return subjects, product


def _quality_types():
    return [(field.name, field.type) for field in products.IMAGE_QUALITY]


@pytest.fixture
def manifest(tmp_path):
    """A function that writes the manifest of galaxies with these names."""

    def write(ids=PLAIN):
        subjects, product = write_round(tmp_path, ids)
        out = tmp_path / "upload" / "manifest.csv"
        write_subjects(subjects, [product], out)
        return out

    return write


@pytest.fixture
def zooniverse():
    with Server() as server:
        yield server


DRIVER = """
import os, sys
from galaxymill.rounds.upload import patience
patience.TIMEOUT_S, patience.WAIT_S = 1.0, 0.02
{before}
sys.argv = ["galaxymill", *sys.argv[1:]]
from galaxymill.cli import main
main()
"""
CREDENTIALS = {"PANOPTES_USERNAME": LOGIN, "PANOPTES_PASSWORD": PASSWORD}


def begin(server, path, *options, credentials=CREDENTIALS, before="", name="week 3"):
    """Begin an upload in a process of its own."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PANOPTES")}
    named = ["--project", PROJECT, "--subject-set", name, "--endpoint", server.address]
    command = [sys.executable, "-c", DRIVER.format(before=before), "upload-subjects", str(path)]
    return subprocess.Popen(
        [*command, *named, *options],
        env=own | credentials,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def upload(server, path, *options, code=0, **more):
    """Upload, and give what was said; no secret may be in it or in the folder."""
    process = begin(server, path, *options, **more)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == code, said
    for text in (said, *(one.read_bytes().decode("latin-1") for one in path.parent.glob("*.*"))):
        assert not [secret for secret in SECRETS if secret in text], text
    if code == 2:
        assert "Traceback" not in said
        assert len([line for line in said.splitlines() if line.startswith("galaxymill: ")]) == 1
    return said


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_once(server, path):
    """Every galaxy of the manifest is on the server once, linked, whole, with its own image."""
    state = server.state
    by_object = state.by_object()
    rows = rows_of(path)
    assert {key: len(numbers) for key, numbers in by_object.items()} == {
        row["#object_id"]: 1 for row in rows
    }
    assert len(state.sets) == 1
    (set_id,) = state.sets
    for row in rows:
        (number,) = by_object[row["#object_id"]]
        subject = state.subjects[number]
        assert subject["metadata"] == {**row, "#subject_set": set_id}
        assert subject["links"]["subject_sets"] == [set_id]
        assert state.media[subject["path"]] == (path.parent / row["#image"]).read_bytes()
    receipts = {
        row["object_id"]: row["subject_id"]
        for row in rows_of(path.with_name("receipts.csv"))
        if row["linked"] == "yes"
    }
    assert receipts == {key: number for key, (number,) in by_object.items()}


def test_a_manifest_is_what_uploaders_take(tmp_path, manifest):
    path = manifest(HOSTILE)
    # As panoptes-cli and the Lab do: the first is a file, by its path; no other value is.
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, skipinitialspace=True)
    assert header[:5] == ["#image", "#object_id", "#round", "#stratum", "#selection_probability"]
    assert header[5:] == ["#ra", "#dec"]
    assert [row[1] for row in rows] == list(reversed(HOSTILE))
    shown = pq.read_table(tmp_path / "subjects.parquet").to_pylist()
    for row, chosen in zip(rows, shown, strict=True):
        assert row[2:4] == [str(chosen["round"]), chosen["stratum"]]
        assert float(row[4]) == chosen["selection_probability"]
        file = path.parent / row[0]
        assert file.read_bytes() == picture(HOSTILE.index(row[1]))
        assert file.parent == path.parent / "images"
        assert file.name.isascii()
        assert len(file.name) < 100
        lab = re.findall(r"([^/\\:,]+(?:.jpg|.jpeg|.png|.gif|.svg))", row[0], re.IGNORECASE)
        assert lab == [file.name]
    assert len({row[0].lower() for row in rows}) == len(rows)


def test_images_become_small_jpegs():
    small = picture(1)
    assert small_jpeg(small) is small
    before = np.linspace((0, 60, 200), (200, 0, 10), 40 * 40).reshape(40, 40, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(before).save(file, "PNG")
    with Image.open(io.BytesIO(small_jpeg(file.getvalue()))) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image, float) - before).mean() < 3
    for side in (900, 2500):
        noise = picture(3, side)
        assert len(noise) >= MAX_BYTES or side == 900
        assert len(small_jpeg(picture(3, side, "PNG"))) < MAX_BYTES
        assert len(small_jpeg(noise)) < MAX_BYTES


def test_subjects_that_cannot_be_shown_are_refused(tmp_path):
    images = [picture(0), None, picture(2)]
    subjects, product = write_round(tmp_path, ["a", "b", "c"], images)
    out = tmp_path / "upload" / "manifest.csv"
    with pytest.raises(UserError, match="1 of 3 subjects have no image, such as 'b'"):
        write_subjects(subjects, [product], out)
    assert not out.exists()
    table = pq.read_table(subjects)
    pq.write_table(pa.concat_tables([table, table]), subjects)
    with pytest.raises(UserError, match="names a galaxy twice"):
        write_subjects(subjects, [product], out)
    pq.write_table(table.slice(0, 0), subjects)
    assert write_subjects(subjects, [product], out) == 0
    with pytest.raises(UserError, match="has no rows"):
        read_manifest(out)
    nothing = pa.nulls(3, pa.string())
    pq.write_table(table.set_column(1, "stratum", nothing), subjects)
    with pytest.raises(UserError, match="column stratum has an empty value"):
        write_subjects(subjects, [product], out)


def test_hostile_names_come_through(zooniverse, manifest):
    path = manifest(HOSTILE)
    said = upload(zooniverse, path)
    assert_once(zooniverse, path)
    assert f"upload: {len(HOSTILE)} of {len(HOSTILE)} subjects" in said
    before = len(zooniverse.state.requests)
    upload(zooniverse, path)
    assert_once(zooniverse, path)
    asked = zooniverse.state.requests[before:]
    assert {method for method, place, _ in asked if place.startswith("/api")} == {"GET"}


def test_an_application_of_ones_own_logs_in_and_tokens_are_renewed(zooniverse, manifest):
    zooniverse.state.expires_in = 100
    path = manifest()
    own = {"PANOPTES_CLIENT_ID": CLIENT_ID, "PANOPTES_CLIENT_SECRET": CLIENT_SECRET}
    upload(zooniverse, path, credentials=own)
    assert_once(zooniverse, path)
    assert zooniverse.state.tokens > len(PLAIN)


FAULTS = {
    "too many requests": [Fault("POST", SUBJECT, "429", 3), Fault("PUT", MEDIA, "429", 2)],
    "gateway, not made": [Fault("POST", SUBJECT, "504", 3), Fault("GET", "/api/me", "504", 2)],
    "gateway, made": [Fault("POST", SUBJECT, "504-done", 3)],
    "gateway, made later": [Fault("POST", SUBJECT, "late", 2)],
    "stalls": [Fault("POST", SUBJECT, "stall"), Fault("PUT", MEDIA, "stall")],
    "stalls, made": [Fault("POST", SUBJECT, "stall-done", 2), Fault("PUT", MEDIA, "stall-done")],
    "stale set": [Fault("POST", LINKS, "stale", 3)],
    "links, done": [Fault("POST", LINKS, "504-done")],
    "set, made": [Fault("POST", "/api/subject_sets", "504-done")],
    "login": [Fault("GET", "/users/sign_in", "504"), Fault("POST", "/oauth/token", "429")],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_faults_of_the_server_pass(zooniverse, manifest, faults):
    zooniverse.state.faults = [Fault(**vars(fault)) for fault in faults]
    path = manifest()
    upload(zooniverse, path)
    assert not any(fault.times for fault in zooniverse.state.faults)
    assert_once(zooniverse, path)
    late = sum(fault.times for fault in faults if fault.kind == "late")
    # Not made and then removed: each counts towards the account's limit.
    assert zooniverse.state.uploaded <= 17 + len(PLAIN) + late
    assert set(zooniverse.state.links.values()) == {1}


def test_a_list_without_order_is_read_whole(zooniverse, manifest):
    state = zooniverse.state
    state.page_size_max, state.shuffled = 2, True
    state.faults = [Fault("POST", SUBJECT, "504-done", 3)]
    path = manifest()
    upload(zooniverse, path)
    assert_once(zooniverse, path)


MOMENTS = {
    # Method and path of a request, how many come before it, and whether it is carried out.
    "before the login": ("POST", "/users/sign_in", 0, False),
    "before the set": ("POST", "/api/subject_sets", 0, False),
    "after the set": ("POST", "/api/subject_sets", 0, True),
    "before the first subject": ("POST", SUBJECT, 0, False),
    "after the first subject": ("POST", SUBJECT, 0, True),
    "after the sixth subject": ("POST", SUBJECT, 5, True),
    "before an image": ("PUT", MEDIA, 3, False),
    "after the last image": ("PUT", MEDIA, len(PLAIN) - 1, True),
    "before the links": ("POST", LINKS, 0, False),
    "after the links": ("POST", LINKS, 0, True),
}
RECEIPTS = {
    # What happens in a receipt's place.
    "in a first receipt": (2, "real(file, data[: len(data) // 2]); die()"),
    "instead of a later receipt": (9, "die()"),
    "after a later receipt": (14, "real(file, data); die()"),
    "in a receipt of a link": (len(PLAIN) * 2 + 5, "real(file, data[:-1]); die()"),
}


class Killer:
    """Kills a process when the server comes to a moment."""

    def __init__(self, method, path, earlier, done):
        self.moment, self.left = (method, path, done), earlier
        self.process, self.begun = None, threading.Event()

    def __call__(self, method, path, done):
        wanted, pattern, when = self.moment
        if (method, done) == (wanted, when) and re.fullmatch(pattern, path):
            self.left -= 1
            if self.left == -1:
                self.begun.wait()
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()


def kill_at(server, path, moment, **more):
    """Upload until a moment; whether it came before the end."""
    killer = server.state.watch = Killer(*moment)
    killer.process = begin(server, path, **more)
    killer.begun.set()
    killer.process.communicate(timeout=120)
    server.state.watch = None
    return killer.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_killed_by_the_server_at_a_moment(zooniverse, manifest, moment):
    path = manifest()
    assert kill_at(zooniverse, path, moment)
    # Its lists lag behind, too: what is made is not in them at first.
    zooniverse.state.lag = 4
    upload(zooniverse, path)
    assert_once(zooniverse, path)


@pytest.mark.parametrize("moment", RECEIPTS.values(), ids=RECEIPTS)
def test_killed_at_a_receipt(zooniverse, manifest, moment):
    number, what = moment
    path = manifest(HOSTILE[:-1])
    before = (
        "import itertools\nreal, numbers = os.write, itertools.count()\n"
        "def die(): os.kill(os.getpid(), 9)\n"
        "def write(file, data):\n"
        f"    if b'/api/subject_sets/' in data and next(numbers) == {number}: {what}\n"
        "    return real(file, data)\n"
        "os.write = write\n"
    )
    process = begin(zooniverse, path, before=before)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    upload(zooniverse, path)
    assert_once(zooniverse, path)


def test_killed_ten_times_in_one_upload(zooniverse, manifest):
    # More than ten turns can send: beside the last one, others are under way.
    path = manifest(tuple(f"galaxy-{number}" for number in range(70)))
    kills = 0
    zooniverse.state.faults = [Fault("POST", SUBJECT, "504-done", 3)]
    for turn in range(10):
        kills += kill_at(zooniverse, path, ("POST", SUBJECT, 2 + turn % 3, turn % 2 == 0))
    assert kills == 10
    upload(zooniverse, path)
    assert_once(zooniverse, path)
    assert zooniverse.state.uploaded == 17 + 70


def test_lost_receipts_double_nothing(zooniverse, manifest):
    path = manifest()
    assert kill_at(zooniverse, path, MOMENTS["after the sixth subject"])
    path.with_name("receipts.csv").unlink()
    upload(zooniverse, path)
    assert_once(zooniverse, path)
    path.with_name("receipts.csv").unlink()
    upload(zooniverse, path)
    assert_once(zooniverse, path)


def test_subjects_that_the_server_has_cleared_away_are_made_again(zooniverse, manifest):
    path = manifest()
    assert kill_at(zooniverse, path, MOMENTS["before the links"])
    for number in sorted(zooniverse.state.subjects)[::3]:
        del zooniverse.state.subjects[number]
    upload(zooniverse, path)
    assert_once(zooniverse, path)


def test_other_subjects_stay_as_they_are(zooniverse, manifest):
    """The same galaxies in another set of the project are other subjects."""
    path = manifest()
    upload(zooniverse, path, name="a trial")
    trial = dict(zooniverse.state.subjects)
    path.with_name("receipts.csv").rename(path.with_name("trial.csv"))
    zooniverse.state.faults = [Fault("POST", SUBJECT, "504-done", 2)]
    upload(zooniverse, path)
    assert trial.items() <= zooniverse.state.subjects.items()
    counts = {key: len(found) for key, found in zooniverse.state.by_object().items()}
    assert counts == dict.fromkeys(PLAIN, 2)


def test_what_the_account_may_not_is_not_begun(zooniverse, manifest):
    path = manifest()
    zooniverse.state.limit = zooniverse.state.uploaded + len(PLAIN) - 1
    said = upload(zooniverse, path, code=2)
    assert "12 subjects are to be uploaded, but the account may upload 11 more" in said
    assert "the account has uploaded 17 of 28 subjects" in said
    assert not zooniverse.state.sets
    assert not zooniverse.state.subjects
    zooniverse.state.whitelist = True
    upload(zooniverse, path)
    assert_once(zooniverse, path)


def test_a_limit_that_is_reached_by_others_is_said(zooniverse, manifest):
    path = manifest()

    def others(method, place, done):
        if done and len(zooniverse.state.subjects) == 5:
            zooniverse.state.limit = 0

    zooniverse.state.watch = others
    said = upload(zooniverse, path, code=2)
    assert "subjects of 0 maximum (HTTP 403); run again" in said
    zooniverse.state.watch, zooniverse.state.limit = None, 100
    upload(zooniverse, path)
    assert_once(zooniverse, path)


MISTAKES = {
    "wrong password": (
        {"credentials": {**CREDENTIALS, "PANOPTES_PASSWORD": "pass-word-wrong"}},
        "the account is refused: Invalid email or password: .* PANOPTES_PASSWORD",
    ),
    "no credentials": ({"credentials": {}}, "an account of Zooniverse is needed: set PANOPTES_"),
    "wrong secret": (
        {"credentials": {"PANOPTES_CLIENT_ID": "x", "PANOPTES_CLIENT_SECRET": "wrong-one"}},
        "the account is refused: invalid_client",
    ),
    "no client": (
        {"before": "sys.modules['panoptes_client'] = None"},
        r"pip install 'galaxymill\[volunteers\]'",
    ),
    "project by name": ({"options": ["--project", "spirals"]}, "--project 'spirals'"),
    "no such project": ({"options": ["--project", "1"]}, "--project 1: Could not find project"),
    "no name": ({"name": " "}, "a name are needed"),
    "in the open": (
        {"options": ["--endpoint", "http://example.org"]},
        "--endpoint: must be an https address",
    ),
    "credentials in the address": (
        {"options": ["--endpoint", f"https://me:{PASSWORD}@example.org"]},
        "--endpoint: holds credentials",
    ),
}


@pytest.mark.parametrize(("given", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_message(zooniverse, manifest, given, message):
    path = manifest()
    given = dict(given)
    said = upload(zooniverse, path, *given.pop("options", ()), code=2, **given)
    assert re.search(message, said)
    assert "pass-word-wrong" not in said
    assert "wrong-one" not in said
    assert not zooniverse.state.subjects


BAD = {
    "absent": (None, "no such file; write-subjects makes it"),
    "empty": ("", "its first column names images, another is #object_id; found: nothing"),
    "other columns": ("a,b\n1,2\n", "found: a, b"),
    "short": ("#image,#object_id\nimages/0.jpg\n", "row 1 has 1 values, not 2"),
    "no rows": ("#image,#object_id\n", "has no rows"),
    "twice": ("#image,#object_id\nimages/0.jpg,a\nimages/0.jpg,a\n", "'a' is there twice"),
    "elsewhere": ("#image,#object_id\n../secret.jpg,a\n", "lies outside of the manifest's folder"),
    "no image": ("#image,#object_id\nimages/1.jpg,a\n", "is no file"),
    "a text": ("#image,#object_id\nimages/text.jpg,a\n", "is no JPEG"),
    "too large": ("#image,#object_id\nimages/large.jpg,a\n", "has 1048577 bytes"),
    "a quote": ('#image,#object_id\nimages/0.jpg,"a\n', "no manifest"),
    "latin": (b"#image,#object_id\nimages/0.jpg,\xff\n", "no manifest"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_manifests_are_refused_before_anything_is_asked(zooniverse, tmp_path, text, message):
    images = tmp_path / "upload" / "images"
    images.mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(picture(0))
    (images / "0.jpg").write_bytes(picture(0))
    (images / "text.jpg").write_text("no picture")
    (images / "large.jpg").write_bytes(picture(0) + bytes(1024 * 1024 + 1 - len(picture(0))))
    path = images.parent / "manifest.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    said = upload(zooniverse, path, code=2)
    assert message in said
    assert not zooniverse.state.requests


def test_receipts_of_another_set_are_refused(zooniverse, manifest):
    path = manifest()
    upload(zooniverse, path)
    said = upload(zooniverse, path, name="week 4", code=2)
    assert "is of" in said
    assert "named 'week 3'" in said
    with Server() as other:
        assert "move it away to upload elsewhere" in upload(other, path, code=2)
    receipts = path.with_name("receipts.csv")
    receipts.write_text("anything\nelse\n")
    assert "no receipts of an upload" in upload(zooniverse, path, code=2)
    assert len(zooniverse.state.subjects) == len(PLAIN)


def test_two_sets_of_one_name_are_refused(zooniverse, manifest):
    path = manifest()
    for number in ("1", "2"):
        zooniverse.state.sets[number] = {
            "id": number,
            "display_name": "week 3",
            "created_at": "2026-01-01T00:00:00Z",
            "links": {"project": PROJECT},
        }
    assert "the project has 2 of this name" in upload(zooniverse, path, code=2)


def test_a_set_that_is_there_is_taken(zooniverse, manifest):
    path = manifest()
    zooniverse.state.sets["1"] = {
        "id": "1",
        "display_name": "week 3",
        "created_at": "2026-01-01T00:00:00Z",
        "links": {"project": PROJECT},
    }
    upload(zooniverse, path)
    assert_once(zooniverse, path)


def test_what_a_server_repeats_of_secrets_is_taken_out(zooniverse, manifest):
    path = manifest()
    zooniverse.state.faults = [Fault("POST", SUBJECT, "echo", 99)]
    said = upload(zooniverse, path, code=2)
    assert "the server refuses: bad: *** Bearer ***" in said


@pytest.mark.parametrize("place", [("POST", "/users/sign_in"), ("POST", SUBJECT), ("PUT", MEDIA)])
def test_nothing_is_sent_elsewhere(zooniverse, manifest, place):
    path = manifest()
    zooniverse.state.faults = [Fault(*place, "elsewhere", 99)]
    with Server() as other:
        zooniverse.state.elsewhere = other.address
        assert "(HTTP 307)" in upload(zooniverse, path, code=2)
        assert not other.state.requests


def test_a_netrc_takes_no_tokens_place(zooniverse, manifest, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    path = manifest()
    upload(zooniverse, path, credentials={**CREDENTIALS, "NETRC": str(tmp_path / "netrc")})
    assert_once(zooniverse, path)


def test_a_server_that_stays_away_is_one_message(zooniverse, manifest):
    path = manifest()
    zooniverse.state.faults = [Fault("POST", SUBJECT, "504", 9999)]
    said = upload(zooniverse, path, code=2)
    assert "the server does not answer (HTTP 504); run again to go on from there" in said
