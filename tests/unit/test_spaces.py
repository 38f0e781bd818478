"""Components beside scikit-learn's, and features and places that depend on one galaxy alone."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from galaxymill.errors import UserError
from galaxymill.spaces.placer import ROWS, Placer
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import (
    FIRST_DEVIATION,
    SPACE_FILE,
    WEIGHTS_FILE,
    Space,
    fit_components,
    read_space,
    write_space,
)
from galaxymill.spaces.umap import fit_map, nearest

RNG = np.random.default_rng(1)
SAMPLE = RNG.normal(0, np.geomspace(3, 0.1, 20), (500, 20)) @ RNG.normal(size=(20, 20)) + 5


def space(maps=None):
    mean, components, deviations, _ = fit_components(SAMPLE, 8)
    settings = SpaceSettings(components=8, maps={name: {} for name in maps or {}})
    return Space({"model": "m"}, settings, mean, components, deviations, maps or {}, {})


def test_components_are_those_of_scikit_learn():
    mean, components, deviations, share = fit_components(SAMPLE, 8)
    oracle = PCA(8, svd_solver="full").fit(SAMPLE)
    scale = FIRST_DEVIATION / np.sqrt(oracle.explained_variance_[0] * 499 / 500)
    assert mean == pytest.approx(oracle.mean_)
    assert np.abs(components) == pytest.approx(np.abs(oracle.components_) * scale)
    assert share == pytest.approx(oracle.explained_variance_ratio_.sum())
    scores = (SAMPLE - mean) @ components.T
    assert deviations == pytest.approx(scores.std(axis=0))
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(8), largest] > 0).all()


def test_one_absurd_embedding_does_not_make_the_space():
    spoilt = np.concatenate([SAMPLE, np.full((1, 20), 6e4), np.full((1, 20), np.nan)])
    assert fit_components(spoilt, 8)[1] == pytest.approx(fit_components(SAMPLE, 8)[1])


@pytest.mark.parametrize("sample", [np.ones((9, 4)), np.full((9, 4), np.nan), np.ones((1, 4))])
def test_a_sample_that_says_nothing_is_refused(sample):
    with pytest.raises(ValueError, match="embedding"):
        fit_components(sample, 2)


def test_fewer_components_than_asked_where_there_are_no_more():
    flat = SAMPLE[:, :1] * np.arange(1, 6)
    assert len(fit_components(flat, 4)[1]) == 1


def test_features_are_the_same_in_any_batch():
    fitted, halves = space(), SAMPLE.astype(np.float16)
    whole, good = fitted.features(halves)
    assert good.all()
    for size in (1, 7, 333):
        pieces = [fitted.features(halves[i : i + size])[0] for i in range(0, len(halves), size)]
        assert (np.concatenate(pieces) == whole).all()
    assert (whole.astype(np.float64) * 1024 % 1 == 0).all()


def test_what_has_no_features_is_told_from_what_has():
    fitted = space()
    odd = np.stack([SAMPLE[0], np.full(20, np.nan), np.full(20, 6e4), fitted.mean, SAMPLE[1]])
    features, good = fitted.features(odd)
    assert good.tolist() == [True, False, False, False, True]
    assert not features[1:4].any()


def test_a_space_is_read_as_it_was_written(tmp_path):
    placer = Placer(8).eval()
    written = space({"all": placer})
    write_space(tmp_path, written, {})
    found, digest = read_space(tmp_path / SPACE_FILE)
    assert len(digest) == 64
    assert (found.components == written.components).all()
    halves = SAMPLE.astype(np.float16)
    features = found.features(halves)[0].astype(np.float32)
    assert (found.maps["all"].place(features) == placer.place(features)).all()


def test_weights_of_another_space_are_refused(tmp_path):
    write_space(tmp_path, space(), {})
    (tmp_path / WEIGHTS_FILE).write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"not the weights that .* names"):
        read_space(tmp_path / SPACE_FILE)


def test_places_are_the_same_in_any_batch():
    torch.manual_seed(3)
    placer = Placer(8).eval()
    features = RNG.normal(size=(3 * ROWS + 17, 8)).astype(np.float32)
    whole = placer.place(features)
    assert whole.min() >= 0
    assert whole.max() <= 1
    order = RNG.permutation(len(features))
    assert (placer.place(features[order]) == whole[order]).all()
    for size in (1, 100, ROWS + 1):
        assert (placer.place(features[:size]) == whole[:size]).all()


@pytest.mark.parametrize("width", [20, 700])
def test_features_and_places_are_the_same_by_any_number_of_threads(width):
    sample = RNG.normal(0, np.geomspace(3, 0.1, width), (1500, width))
    mean, components, deviations, _ = fit_components(sample, 16)
    fitted = Space({}, SpaceSettings(), mean, components, deviations, {}, {})
    torch.manual_seed(3)
    placer = Placer(16).eval()
    placer.low.fill_(-1)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with threadpool_limits(threads):
                features = fitted.features(sample.astype(np.float16))[0]
                found.append((features, placer.place(features.astype(np.float32))))
    finally:
        torch.set_num_threads(before)
    (features, places), (other_features, other_places) = found
    assert features.tobytes() == other_features.tobytes()
    assert (places == other_places).all()
    assert len(np.unique(places[:, 0])) > 1000


def test_nearest_are_those_of_scikit_learn():
    unit = SAMPLE / np.linalg.norm(SAMPLE, axis=1, keepdims=True)
    far, rows = NearestNeighbors().fit(unit).kneighbors(unit, 6)
    indices, distances = nearest(torch.from_numpy(unit), 5)
    assert distances.numpy() == pytest.approx(far[:, 1:], abs=1e-6)
    assert (indices.numpy() == rows[:, 1:]).mean() > 0.99


def test_a_map_keeps_clusters_apart():
    centres = np.eye(8)[:4] * 10
    which = np.repeat(np.arange(4), 50)
    features = (centres[which] + RNG.normal(0, 0.5, (200, 8))).astype(np.float32)
    places = fit_map(features, 10, 300, 1).place(features)
    near = NearestNeighbors().fit(places).kneighbors(places, 11)[1][:, 1:]
    assert (which[near] == which[:, None]).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_map_of_a_handful(count):
    features = RNG.normal(size=(count, 8)).astype(np.float32)
    places = fit_map(features, 15, 300, 1).place(features)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
