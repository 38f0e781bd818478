"""Likeness and the exact scan, beside double precision on whole arrays and scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.search.likeness import Query
from galaxymill.search.scan import find_galaxies, nearest, read_features
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

COMPONENTS = 16


def features(count, seed=1):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, np.geomspace(4, 0.2, COMPONENTS), (count, COMPONENTS))
    return (np.rint(values * 1024) / 1024).astype(np.float16)


def write(folder, parts, names, values, absent=()):
    """Write features of galaxies, cut into so many partitions."""
    schema = products.features(COMPONENTS, [])
    files = []
    for number, rows in enumerate(np.array_split(np.arange(len(names)), parts)):
        there = np.array([names[row] not in absent for row in rows], bool)
        valid = pa.array(there).buffers()[1]
        data = pa.py_buffer(values[rows].tobytes())
        column = pa.Array.from_buffers(pa.binary(2 * COMPONENTS), len(rows), [valid, data])
        ids = [names[row] for row in rows]
        table = pa.table([ids, np.zeros(len(ids), np.int32), column], schema=schema)
        files.append(folder / f"g0-k1-p{number}.parquet")
        write_product(files[-1], table, Origin("project"), schema)
    return files


NAMES = [f"g{number}" for number in range(3000)]
VALUES = features(3000)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("features"), 7, NAMES, VALUES)


def found(files, queries, wanted, **options):
    return [
        [(hit.object_id, hit.likeness) for hit in hits]
        for hits in nearest(files, queries, wanted, **options)
    ]


def test_the_nearest_are_those_of_scikit_learn(files):
    queries = [Query(VALUES[[row]], None, "q") for row in (5, 100)]
    oracle = NearestNeighbors(metric="cosine", algorithm="brute").fit(VALUES.astype(np.float64))
    distances, rows = oracle.kneighbors(VALUES[[5, 100]].astype(np.float64), 200)
    for hits, far, expected in zip(found(files, queries, 200), distances, rows, strict=True):
        assert [name for name, _ in hits] == [NAMES[row] for row in expected]
        assert [value for _, value in hits] == pytest.approx(1 - far, abs=1e-6)


def test_whitened_features_count_alike(files):
    deviations = VALUES.astype(np.float64).std(axis=0)
    white = VALUES / deviations
    oracle = NearestNeighbors(metric="cosine", algorithm="brute").fit(white)
    _, rows = oracle.kneighbors(white[[9]], 100)
    (hits,) = found(files, [Query(VALUES[[9]], deviations, "q")], 100)
    assert {name for name, _ in hits} == {NAMES[row] for row in rows[0]}


def test_several_queries_are_the_mean_of_their_directions():
    three = VALUES[:3].astype(np.float64)
    mean = (three / np.linalg.norm(three, axis=1, keepdims=True)).mean(axis=0)
    expected = VALUES @ mean / np.linalg.norm(VALUES.astype(np.float64), axis=1)
    found = Query(VALUES[:3], None, "q").likeness(VALUES)
    assert found == pytest.approx(expected / np.linalg.norm(mean), abs=1e-6)


@pytest.mark.parametrize("parts", [1, 2, 13, 60])
def test_partitions_and_their_order_change_no_bit(files, tmp_path, parts):
    order = np.random.default_rng(parts).permutation(len(NAMES))
    other = write(tmp_path, parts, [NAMES[row] for row in order], VALUES[order])
    queries = [Query(VALUES[[row]], None, "q") for row in (0, 7)]
    assert found(other[::-1], queries, 50) == found(files, queries, 50)


@settings(deadline=None, max_examples=40, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_any_partitions_order_and_threads_find_the_same(tmp_path_factory, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.integers(1, 200))
    # Of few kinds, so that many are equal and names decide.
    values = VALUES[rng.integers(0, data.draw(st.integers(1, 300)), count)]
    names = [f"n{number}" for number in rng.permutation(count)]
    deviations = np.abs(VALUES[0].astype(float)) + 0.1 if data.draw(st.booleans()) else None
    asked = rng.integers(0, count, data.draw(st.integers(1, 5)))
    queries = [Query(values[[row]], deviations, "q") for row in asked]
    wanted = data.draw(st.integers(1, count + 5))
    answers = []
    for _ in range(2):
        order = rng.permutation(count)
        parts = data.draw(st.integers(1, 9))
        folder = tmp_path_factory.mktemp("any")
        files = write(folder, parts, [names[row] for row in order], values[order])
        threads = data.draw(st.integers(1, 4))
        answers.append(found(files, queries, wanted, threads=threads))
    assert answers[0] == answers[1]
    white = values / (1 if deviations is None else deviations)
    unit = white.astype(float) / np.linalg.norm(white.astype(float), axis=1, keepdims=True)
    for row, hits in zip(asked, answers[0], strict=True):
        assert len(hits) == min(wanted, count)
        expected = np.sort(unit @ unit[row])[::-1][:wanted]
        assert [value for _, value in hits] == pytest.approx(expected, abs=1e-3)


def test_equals_come_in_the_order_of_their_names(tmp_path):
    values = np.tile(VALUES[:1], (20, 1))
    names = [f"e{number:02d}" for number in np.random.default_rng(3).permutation(20)]
    (hits,) = found(write(tmp_path, 4, names, values), [Query(VALUES[:1], None, "q")], 6)
    assert [name for name, _ in hits] == [f"e{number:02d}" for number in range(6)]
    assert len({value for _, value in hits}) == 1


def test_those_without_features_or_masked_are_not_found(tmp_path):
    absent = {NAMES[3], NAMES[8]}
    files = write(tmp_path, 3, NAMES[:30], VALUES[:30], absent)
    even = {path: np.arange(len(read_all(path))) % 2 == 0 for path in files}
    (hits,) = found(files, [Query(VALUES[:1], None, "q")], 100)
    assert {name for name, _ in hits} == set(NAMES[:30]) - absent
    (hits,) = found(files, [Query(VALUES[:1], None, "q")], 100, mask=even.__getitem__)
    kept = {name for path in files for name in read_all(path)[::2]} - absent
    assert {name for name, _ in hits} == kept


def read_all(path):
    return pa.parquet.read_table(path)["object_id"].to_pylist()


def test_more_than_there_are_is_all(files):
    (hits,) = found(files, [Query(VALUES[:1], None, "q")], 10_000)
    assert len(hits) == len(NAMES)


def test_opposites_have_nothing_in_common():
    with pytest.raises(UserError, match="nothing in common"):
        Query(np.stack([VALUES[0], -VALUES[0]]), None, "a, b")


def test_galaxies_are_found_by_name(files):
    places = find_galaxies(files, ["g2999", "g0", "nobody", "g0"])
    assert set(places) == {"g2999", "g0"}
    path, row = places["g2999"]
    assert read_all(path)[row] == "g2999"
    rows, values = read_features(path)
    assert (values[rows == row][0] == VALUES[2999]).all()
