"""The server behind the page for rating: who gets in, what is kept, and what is shown next."""

import csv
import http.client
import json
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxymill import products
from galaxymill.catalog.partition import part_files
from galaxymill.errors import UserError
from galaxymill.interest.page import pool
from galaxymill.interest.page.opened import open_server
from galaxymill.interest.ratings import read_ratings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from rated_survey import Client, Program, RatedSurvey, is_odd

GALAXIES = 600
CLICKS = int(os.environ.get("GALAXYMILL_CLICKS", "2000"))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    survey = RatedSurvey(tmp_path_factory.mktemp("rated"))
    survey.add_galaxies(GALAXIES)
    return survey


@pytest.fixture
def served(survey):
    """A function that serves the survey, without ratings at first; gives the server."""
    servers = []

    def serve(**given):
        if not servers:
            survey.ratings.unlink(missing_ok=True)
        server = survey.open(**given)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client(served):
    return Client(served().address)


def rate_batch(client, answer):
    """Rate as somebody who looks for the odd ones."""
    clicks = [
        {"galaxy": one["id"], "rating": 5 if is_odd(one["id"]) else 0} for one in answer["galaxies"]
    ]
    status, told = client.post("rate", {"rater": client.rater, "clicks": clicks})
    assert status == 200
    assert told["kept"] == len(clicks)
    return told


def test_it_learns_what_one_looks_for(survey, client):
    good, bad = survey.ids()
    first, found = client.batch(), []
    while len(found) < 6:
        assert len(first["galaxies"]) == 30
        found.append(sum(is_odd(one["id"]) for one in first["galaxies"]))
        told = rate_batch(client, first)
        first = client.batch()
    share = np.mean([is_odd(name) for name in good])
    assert share < 0.3
    # The last batches hold hardly anything else.
    assert min(found[-3:]) > 0.9 * 30
    assert told["rated"] == 180
    assert told["found"] == sum(found)
    assert told["left"] == len(good) - 180
    assert not set(bad) & read_ratings([survey.ratings]).by_rater["ann"].keys()


def test_no_galaxy_comes_twice_and_all_with_features_come(survey, client):
    good, _ = survey.ids()
    seen = []
    while (answer := client.batch())["galaxies"]:
        seen += [one["id"] for one in answer["galaxies"]]
        rate_batch(client, answer)
    assert sorted(seen) == sorted(good)
    assert answer["left"] == 0


def test_who_comes_back_has_the_same_galaxies_before_him(served, client):
    first = client.batch()
    client.rate(first["galaxies"][3]["id"], 2)
    again = client.batch(is_next=False)
    assert [one["id"] for one in again["galaxies"]] == [one["id"] for one in first["galaxies"]]
    assert [one["rating"] for one in again["galaxies"]][2:5] == [None, 2, None]


def test_those_passed_over_come_again_when_nothing_else_is_left(survey, client):
    good, _ = survey.ids()
    for _ in range(-(-len(good) // 30)):
        assert client.batch()["galaxies"]
    assert len(client.batch()["galaxies"]) == 30


def test_the_address_is_secret(served):
    server = served()
    client = Client(server.address)
    token = server.token
    assert len(token) >= 40
    paths = [
        "/",
        "/style.css",
        f"/{token}",
        f"/{token[:-1]}/",
        f"/{token.swapcase()}/",
    ]
    for path in [*paths, "/%00/", "/é/", f"/x/../{token}/", f"http://127.0.0.1/{token}/"]:
        line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        line.putrequest("GET", "/")
        line._buffer[0] = f"GET {path} HTTP/1.1".encode("latin-1")
        line.endheaders()
        answer = line.getresponse()
        assert answer.status == 403, path
        assert token not in answer.read().decode()
    assert client.get("")[0] == 200
    assert served().token != token


HOSTS = {
    "localhost": 200,
    "localhost:8050": 200,
    "127.0.0.1:1": 200,
    "[::1]:80": 200,
    "evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil:80": 403,
    "127.0.0.1:80@evil": 403,
    "": 403,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_other_hosts_are_refused(client, host, status):
    path = client.parts.path
    assert client.raw("GET", path, None, Host=host)[0] == status


ORIGINS = ["http://evil.example", "null", "https://localhost:8050", "http://localhost:8051", ""]


@pytest.mark.parametrize("origin", ORIGINS)
def test_other_origins_are_refused(client, origin):
    body = {"rater": "eve", "next": True}
    assert client.post("batch", body, Host="localhost:8050", Origin=origin)[0] == 403
    same = {"Host": "localhost:8050", "Origin": "http://localhost:8050"}
    assert client.post("batch", body, **same)[0] == 200


def test_the_policy_lets_nothing_else_in(client):
    for name in ("", "main.js", "style.css", "image/0", "image/999999", "nothing"):
        headers = client.get(name)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert not any(name.startswith("Access-Control") for name in headers)


NAMES = [
    "../ratings.csv",
    "..%2f..%2fratings.csv",
    "server.py",
    "__init__.py",
    "image/-1",
    "image/1e3",
    "image/../main.js",
    "image/99999999999",
    "image/",
    "index.html/..",
    "%2e%2e/",
]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_served_but_the_page_and_images(client, name):
    client.batch()
    status, _, data = client.get(name)
    assert status == 404
    assert b"import" not in data


def test_images_are_those_of_the_galaxies(survey, client):
    images = {}
    for path in part_files(survey.partitions, survey.folders["images"]):
        for row in pq.read_table(path, columns=["object_id", "image"]).to_pylist():
            images[row["object_id"]] = row["image"] and row["image"]["bytes"]
    for _ in range(3):
        for one in client.batch()["galaxies"]:
            status, headers, data = client.get(f"image/{one['number']}")
            assert (status, headers["Content-Type"]) == (200, "image/jpeg")
            assert data == images[one["id"]]


def test_an_image_that_is_of_another_galaxy_is_not_shown(tmp_path):
    survey = RatedSurvey(tmp_path)
    survey.add_galaxies(30)
    (path,) = part_files(survey.partitions, survey.folders["images"])
    table = pq.read_table(path)
    survey.write("images", path.stem, table.take(list(range(29, -1, -1))))
    with survey.open() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(server.address)
        statuses = {client.get(f"image/{n['number']}")[0] for n in client.batch()["galaxies"]}
        server.shutdown()
    assert statuses == {404}


BAD_BODIES = {
    b"": 400,
    b"{": 400,
    b"[]": 400,
    b"null": 400,
    b"[" * 100_000: 400,
    b'{"rater": "\xff"}': 400,
    b'{"a": ' + b"1" * 20_000 + b"}": 400,
}


@pytest.mark.parametrize(("body", "status"), BAD_BODIES.items(), ids=range(len(BAD_BODIES)))
def test_what_is_no_json_is_refused(client, body, status):
    assert client.post("rate", body)[0] == status
    assert client.batch()["galaxies"]


def test_long_and_endless_bodies_are_not_read(served):
    server = served()
    head = f"POST /{server.token}/rate HTTP/1.1\r\nHost: localhost\r\n"
    head += "Content-Type: application/json\r\n"
    cases = {
        "Content-Length: 300000": b"413",
        "Content-Length: 99999999999999": b"411",
        "Content-Length: -5": b"411",
        "Content-Length: 0x10": b"411",
        "Transfer-Encoding: chunked": b"411",
        "Transfer-Encoding: chunked\r\nContent-Length: 2": b"411",
        "X: y": b"411",
    }
    for more, status in cases.items():
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as line:
            line.sendall(f"{head}{more}\r\n\r\n".encode())
            data = b"".join(iter(lambda line=line: line.recv(4096), b""))
        assert data.split()[1] == status, more
    plain = Client(server.address).raw("POST", f"/{server.token}/rate", b"{}")
    assert plain[0] == 415


def clicks_of(*clicks):
    return {"rater": "ann", "clicks": list(clicks)}


def one(galaxy, rating, **more):
    return clicks_of({"galaxy": galaxy, "rating": rating, **more})


def test_ratings_that_make_no_sense_are_refused_and_named(survey, client):
    good, bad = survey.ids()
    name = good[0]
    for rating in (6, -1, 5.01, 1e400, float("nan"), "3", True, [3], {}, 10**400):
        status, answer = client.post("rate", one(name, rating))
        assert status == 400
        assert "0 to 5" in answer["error"]
    for unknown in ("nobody", bad[0], "", name + " ", "\ud800", "x" * 5000):
        status, answer = client.post("rate", one(unknown, 3))
        assert status == 400
        assert "no such galaxy" in answer["error"] or "no galaxy" in answer["error"]
    for body in ({}, {"clicks": []}, {"clicks": [1]}, {"clicks": [{}]}, {"clicks": {}}):
        assert client.post("rate", {"rater": "ann", **body})[0] == 400
    assert client.post("rate", clicks_of(*[one(name, 1)["clicks"][0]] * 1001))[0] == 400
    for rater in ("", "  ", "x" * 61, "a\u202eb", 5, None, "a\x00b"):
        assert client.post("rate", {**one(name, 3), "rater": rater})[0] == 400
    assert client.post("rate", one(name, 3, note="x" * 201))[0] == 400
    # One that makes no sense lets all of them be refused.
    both = clicks_of({"galaxy": name, "rating": 3}, {"galaxy": "nobody", "rating": 3})
    assert client.post("rate", both)[0] == 400
    assert not survey.ratings.exists()


def test_rows_hold_who_said_what_and_when(survey, client):
    good, _ = survey.ids()
    names = [name for name in good if set(name) & set('",\n<=')]
    assert len(names) >= 5
    for name in names:
        assert client.rate(name, 4)[0] == 200
    with survey.ratings.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["object_id"] for row in rows] == names
    assert {(row["rating"], row["rater"], row["note"]) for row in rows} == {("4", "ann", "")}
    age = time.time() - time.mktime(time.strptime(rows[0]["rated_at"], "%Y-%m-%dT%H:%M:%SZ"))
    assert abs(age + time.timezone) < 60
    assert read_ratings([survey.ratings]).by_rater["ann"] == dict.fromkeys(names, 4)


def test_what_is_withdrawn_counts_no_more(survey, client):
    first = client.batch()["galaxies"]
    for galaxy in first[:3]:
        client.rate(galaxy["id"], 5)
    status, told = client.rate(first[1]["id"], None)
    assert (status, told["rated"], told["found"], told["own"]) == (200, 2, 2, 2)
    ours = read_ratings([survey.ratings]).by_rater["ann"]
    assert set(ours) == {first[0]["id"], first[2]["id"]}
    best = client.post("best", {"rater": "ann"})[1]
    assert [one["id"] for one in best] == sorted(ours)


def test_the_best_so_far_are_by_the_mean_of_all(survey, served):
    server = served()
    ann, bob = Client(server.address), Client(server.address, "bob")
    good, _ = survey.ids()
    for name, one, other in zip(good, (5, 5, 3, 2), (5, 2, 4, 5), strict=False):
        ann.rate(name, one)
        bob.rate(name, other)
    best = bob.post("best", {"rater": "bob"})[1]
    told = [(one["id"], one["mean"], one["rating"]) for one in best]
    middle = sorted([(good[1], 3.5, 2), (good[2], 3.5, 4), (good[3], 3.5, 5)])
    assert told == [(good[0], 5, 5), *middle]


def test_two_raters_have_other_galaxies_and_some_in_common(served):
    server = served()
    ann, bob = Client(server.address), Client(server.address, "bob")
    first, second = ann.batch()["galaxies"], bob.batch()["galaxies"]
    assert not {one["id"] for one in first} & {one["id"] for one in second}
    rate_batch(ann, {"galaxies": first})
    third = [one["id"] for one in bob.batch()["galaxies"]]
    both = set(third) & {one["id"] for one in first}
    assert len(both) == 3
    assert len(set(third)) == 30


def test_two_raters_at_once_lose_nothing(survey, served):
    # Each has a server of his own on the same file.
    servers = served(), served()
    said = {}

    def rate(name):
        client = Client(servers[name == "bob"].address, name)
        for _ in range(4):
            for galaxy in client.batch()["galaxies"]:
                rating = len(said) % 6
                assert client.rate(galaxy["id"], rating)[0] == 200
                said[name, galaxy["id"]] = rating

    threads = [threading.Thread(target=rate, args=[name]) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 240
    found = read_ratings([survey.ratings]).by_rater
    assert {(r, g): v for r, own in found.items() for g, v in own.items()} == said
    # Each knows what the other has said.
    told = [Client(server.address, "cy").batch() for server in servers]
    assert [one["rated"] for one in told] == [len({g for _, g in said})] * 2


def test_what_looks_like_an_artifact_comes_no_more(tmp_path):
    survey = RatedSurvey(tmp_path)
    survey.add_galaxies(200)
    (path,) = part_files(survey.partitions, survey.features)
    table = pq.read_table(path)
    good, _ = survey.ids()
    twins, rest = good[20:60], table.to_pylist()
    source = next(row["features"] for row in rest if row["object_id"] == good[20])
    for row in rest:
        row["features"] = source if row["object_id"] in twins else row["features"]
    origin = json.loads(pq.read_metadata(path).metadata[b"galaxymill"])["origin"]
    written = Origin("project", {}, origin["inputs"], origin["domain"])
    write_product(path, pa.Table.from_pylist(rest, table.schema), written, table.schema)
    with survey.open(start=[twins[0]]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client, seen = Client(server.address), []
        assert client.rate(twins[0], 0, "artifact")[0] == 200
        while galaxies := client.batch()["galaxies"]:
            seen += [one["id"] for one in galaxies]
            rate_batch(client, {"galaxies": galaxies})
        assert sorted(seen) == sorted(set(good) - set(twins))
        # Until it is withdrawn.
        client.rate(twins[0], None)
        assert {one["id"] for one in client.batch()["galaxies"]} <= set(twins)
        server.shutdown()


def test_it_begins_with_the_galaxies_that_are_named(survey, served):
    good, bad = survey.ids()
    names = [name for name in good if is_odd(name)][:3]
    client = Client(served(start=names).address)
    first = [one["id"] for one in client.batch()["galaxies"]]
    assert first[:3] == names
    table = survey.folder / "nearest.csv"
    ranked = [*reversed(good[:40]), bad[0]]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["rank", "object_id"], *enumerate(ranked)])
    client = Client(served(start_from=table).address)
    assert [one["id"] for one in client.batch()["galaxies"]] == ranked[:30]
    assert [one["id"] for one in client.batch()["galaxies"]][:10] == ranked[30:40]
    for asked in ("nobody", bad[0]):
        with pytest.raises(UserError, match="no such galaxy, or it has no features"):
            survey.open(start=[names[0], asked])


def test_without_a_word_it_begins_with_strange_ones(survey, client):
    from sklearn.ensemble import IsolationForest

    rows = {}
    for path in part_files(survey.partitions, survey.features):
        for row in pq.read_table(path, columns=["object_id", "features"]).to_pylist():
            if row["features"]:
                rows[row["object_id"]] = np.frombuffer(row["features"], "<f2").astype(float)
    odd = dict(
        zip(
            rows,
            -IsolationForest(random_state=5).fit([*rows.values()]).score_samples([*rows.values()]),
            strict=True,
        )
    )
    first = [odd[one["id"]] for one in client.batch()["galaxies"]]
    assert np.mean(first) > np.quantile(list(odd.values()), 0.9)


def test_the_best_of_the_last_full_pass_are_among_those_to_choose_from(survey, monkeypatch):
    monkeypatch.setattr(pool, "BEST", 20)
    monkeypatch.setattr(pool, "DRAWN", 60)
    good, _ = survey.ids()
    best, folder = set(good[::31]), survey.results / "rated" / "odd"
    schema = products.interests("odd")
    for path in part_files(survey.partitions, survey.features):
        ids = pq.read_table(path)["object_id"].to_pylist()
        score = [None if n not in good else 2.0 if n in best else 1.0 for n in ids]
        columns = dict.fromkeys(products.interest_columns("odd"), score)
        table = pa.table({"object_id": ids, "flags": [0] * len(ids)} | columns)
        table = table.select(schema.names).cast(schema)
        write_product(folder / path.name, table, Origin("project"), schema)
    assert 15 < len(best) <= 20
    server = survey.open()
    server.server_close()
    names = set(server.desk._pool.galaxies.ids)
    assert best <= names
    drawn = len(names - best)
    assert 30 < drawn < 100 + 20
    assert server.desk._pool.count == len(good)
    for path in folder.iterdir():
        path.unlink()


def test_ratings_of_galaxies_that_are_not_here_are_named_and_passed_over(survey, served, caplog):
    good, _ = survey.ids()
    served()
    rows = "".join(f'"{n}",{k % 6},eve,,\n'.replace('""', '"') for k, n in enumerate(["z1", "z2"]))
    head = "object_id,rating,rater,rated_at,note\n"
    survey.ratings.write_text(head + rows)
    client = Client(served().address)
    assert "2 rated galaxies are not here or have no features: z1, z2" in caplog.text
    answer = client.batch()
    assert answer["rated"] == 2
    assert answer["left"] == len(good)
    assert len(answer["galaxies"]) == 30


def test_a_table_that_is_damaged_is_refused_before_anything_is_served(survey, tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("object_id,rating,rater,rated_at,note\na,7,ann,,\n")
    with pytest.raises(UserError, match="row 1: rating 7"):
        survey.open(ratings=(path,))
    other = tmp_path / "more.csv"
    other.write_text("object_id,rating\na,nan\n")
    with pytest.raises(UserError, match="rating nan"):
        survey.open(ratings=(tmp_path / "new.csv", other))


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(survey):
    survey.ratings.unlink(missing_ok=True)
    good, _ = survey.ids()
    kept, generator = {}, random.Random(1)
    for turn in range(2):
        program = Program(survey)
        pause = threading.Event()

        def rate(name, program=program, turn=turn, pause=pause):
            client = Client(program.address, name)
            try:
                for number in range(10_000):
                    galaxy, rating = good[number % len(good)], (number + turn) % 6
                    if client.rate(galaxy, rating)[0] != 200:
                        return
                    kept[name, galaxy] = rating
                    if number > 50:
                        pause.set()
            except (OSError, http.client.HTTPException):
                return

        threads = [threading.Thread(target=rate, args=[name]) for name in ("ann", "bob")]
        for thread in threads:
            thread.start()
        assert pause.wait(60)
        time.sleep(generator.uniform(0, 0.1))
        program.kill()
        for thread in threads:
            thread.join()
    found = read_ratings([survey.ratings]).by_rater
    # What was on its way to be acknowledged may be there as well: at most the last of each.
    differing = {k for k, v in kept.items() if found[k[0]].get(k[1]) != v}
    assert len(differing) <= 4
    assert len(kept) > 100
    with survey.ratings.open(newline="", encoding="utf-8") as file:
        assert all(len(row) == 5 for row in csv.reader(file))


def test_a_full_disk_is_told_and_nothing_half_is_left(survey):
    survey.ratings.unlink(missing_ok=True)
    good, _ = survey.ids()
    program = Program(survey)
    try:
        client = Client(program.address)
        assert client.rate(good[20], 1)[0] == 200
        before = survey.ratings.read_text()
        room = (survey.ratings.stat().st_size + 7, resource.RLIM_INFINITY)
        endless = resource.RLIM_INFINITY, resource.RLIM_INFINITY
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, room)
        for _ in range(3):
            status, answer = client.rate(good[21], 2)
            assert status == 507
            assert "too large" in answer["error"]
        assert survey.ratings.read_text() == before
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, endless)
        assert client.rate(good[21], 2)[0] == 200
    finally:
        program.kill()
    assert read_ratings([survey.ratings]).by_rater == {"ann": {good[20]: 1, good[21]: 2}}


def test_thousands_of_clicks_by_a_program(survey, served):
    """2,000; ``GALAXYMILL_CLICKS=20000`` for more."""
    good, _ = survey.ids()
    server = served()
    said = {}

    def rate(rater):
        client, numbers = Client(server.address, rater), random.Random(rater)
        for _ in range(CLICKS // 4):
            galaxy, rating = numbers.choice(good), numbers.choice([*range(6), None])
            assert client.rate(galaxy, rating)[0] == 200
            said[rater, galaxy] = rating

    threads = [threading.Thread(target=rate, args=[f"r{n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_ratings([survey.ratings]).by_rater
    plain = {(r, g): v for r, own in found.items() for g, v in own.items()}
    assert plain == {key: rating for key, rating in said.items() if rating is not None}
    with survey.ratings.open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == CLICKS // 4 * 4 + 1
    answer = Client(server.address, "new").batch()
    assert answer["rated"] == len({galaxy for _, galaxy in plain})


def test_the_command_refuses_what_it_cannot_do(survey, galaxymill):
    config = survey.folder / "config.yaml"
    where = "--configfile", config, "--results", survey.results
    for words, message in {
        ("nothing", *where): "unknown interest 'nothing'; allowed: odd",
        ("odd", "--configfile", config, "--results", survey.folder): "space.yaml",
        ("odd", *where, "--start-from", survey.folder / "no.csv"): "no such file",
    }.items():
        ended = galaxymill("rate", *words)
        assert ended.returncode == 2, ended.stderr
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(survey, served):
    server = served()
    with pytest.raises(UserError, match=f"--port {server.server_port}"):
        open_server(survey.request(), server.server_port)


def test_the_program_ends_well(survey):
    program = Program(survey)
    assert Client(program.address).batch()["galaxies"]
    said = program.process.stdout.readline()
    assert "ssh -N -L" in said
    program.process.send_signal(2)
    try:
        assert program.process.wait(20) == 0
    except subprocess.TimeoutExpired:
        program.kill()
        raise
    program.process.stdout.close()
