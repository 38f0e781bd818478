"""An epoch's galaxies: each once, in an order of its own, shared among processes."""

import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxymill import products
from galaxymill.images.pixels import RowGroup
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import open_product
from galaxymill.training import data
from galaxymill.training.data import Cached, Split, Streamed, cuts, decoded, open_split, shuffled

SIDE = 8
SIZES = (7, 5, 1, 9, 8)
COUNT = sum(SIZES)


def png(value):
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (value, value, value)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Row groups of different lengths; each galaxy's label is its number, its image that grey."""
    path = tmp_path_factory.mktemp("images") / "images.parquet"
    groups, start = [], 0
    with open_product(path, products.IMAGES, Origin("render")) as writer:
        for number, size in enumerate(SIZES):
            keys = [f"g{row:02d}" for row in range(start, start + size)]
            rows = [
                {"object_id": key, "image": {"bytes": png(int(key[1:])), "path": None}, "flags": 0}
                for key in keys
            ]
            writer.write(pa.Table.from_pylist(rows, products.IMAGES))
            groups.append(RowGroup(path, number, frozenset(keys)))
            start += size
    labels = {f"g{row:02d}": torch.tensor([float(row)]) for row in range(COUNT)}
    return Split(groups, labels, SIDE)


KINDS = {"cached": Cached, "streamed": Streamed}


def drawn(opened, seed, size=4, own=slice(None)):
    batches = opened.batches(size, seed, own)
    listed = list(batches)
    assert len(listed) == len(batches)
    for pixels, labels, whole in listed:
        assert len(labels) == len(range(whole)[own])
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (len(labels), 3, SIDE, SIDE)
        assert torch.equal(pixels[:, 0, 0, 0].float(), labels[:, 0])
    return [int(label) for batch in listed for label in batch.labels[:, 0]]


def steps(opened, seed, size, own):
    return [set(batch.labels[:, 0].int().tolist()) for batch in opened.batches(size, seed, own)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_galaxy_once_an_epoch_and_in_another_order_each(split, kind):
    opened = KINDS[kind](split)
    assert opened.count == COUNT
    orders = [drawn(opened, seed) for seed in range(4)]
    for order in orders:
        assert sorted(order) == list(range(COUNT))
    assert len({tuple(order) for order in orders}) == 4
    assert list(range(COUNT)) not in orders
    assert drawn(opened, 2) == orders[2]


@pytest.mark.parametrize("kind", KINDS)
def test_validation_has_one_order(split, kind):
    assert drawn(KINDS[kind](split), None) == list(range(COUNT))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("processes", [2, 3, 7])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_processes_see_in_each_step_what_one_would(split, kind, processes, seed):
    """The last of 30 galaxies in steps of 8 are 6: the seventh process has none of them."""
    opened = KINDS[kind](split)
    shares = [steps(opened, seed, 8, slice(rank, None, processes)) for rank in range(processes)]
    for whole, *own in zip(steps(opened, seed, 8, slice(None)), *shares, strict=True):
        assert set().union(*own) == whole
        assert sum(map(len, own)) == len(whole)
        assert max(map(len, own)) - min(map(len, own)) <= 1


def test_a_process_decodes_its_share_only(split, monkeypatch):
    asked = []
    real = data.to_pixels
    monkeypatch.setattr(data, "to_pixels", lambda *args: asked.append(1) or real(*args))
    own = drawn(Streamed(split), 1, 8, slice(1, None, 3))
    assert len(asked) == len(own) == 3 + 3 + 3 + 2


def test_what_fits_is_kept(split, caplog):
    with caplog.at_level("INFO", logger="galaxymill"):
        assert isinstance(open_split(split, 1.0), Cached)
        assert not caplog.messages
        assert isinstance(open_split(split, 0.0), Streamed)
    assert "more than cache_gb: 0; they are streamed" in caplog.text
    assert split.nbytes == COUNT * 3 * SIDE**2


def test_an_empty_split_has_no_batches():
    empty = Split([], {}, SIDE)
    for kind in KINDS.values():
        opened = kind(empty)
        assert opened.count == 0
        assert list(opened.batches(4, None, slice(None))) == []


@given(st.integers(0, 500), st.integers(2, 40))
def test_cuts_cover_all_and_leave_nobody_alone(n, size):
    pieces = cuts(n, size)
    assert [row for low, high in pieces for row in range(low, high)] == list(range(n))
    lengths = [high - low for low, high in pieces]
    assert all(2 <= length <= size + 1 for length in lengths) or n == 1
    assert all(length == size for length in lengths[:-1])


@settings(max_examples=30)
@given(st.integers(1, 50), st.integers(0, 1000))
def test_the_buffer_bounds_how_far_a_galaxy_moves_up(split, buffer, seed):
    rows = [int(key[1:]) for key, _ in shuffled(split.groups, seed, COUNT, buffer)]
    assert sorted(rows) == list(range(COUNT))
    assert all(row - place < buffer for place, row in enumerate(rows))


def test_more_than_there_are_go_round_again(split):
    rows = [int(key[1:]) for key, _ in shuffled(split.groups, None, COUNT + 3)]
    assert rows == [*range(COUNT), 0, 1, 2]


def test_images_are_decoded_ahead_but_not_all(split, monkeypatch):
    monkeypatch.setattr(data, "AHEAD", 3)
    asked = []

    def rows():
        for number in range(20):
            asked.append(number)
            yield f"g{number:02d}", png(number)

    galaxies = decoded(rows(), SIDE)
    for number in range(20):
        key, pixels = next(galaxies)
        assert (key, int(pixels[0, 0, 0])) == (f"g{number:02d}", number)
        assert len(asked) <= number + 3
    assert list(galaxies) == []


def test_a_stream_that_is_left_reads_no_more(split):
    galaxies = decoded(shuffled(split.groups, 1, COUNT), SIDE)
    next(galaxies)
    galaxies.close()
    assert list(galaxies) == []


def test_an_image_is_brought_to_the_side(split):
    _, pixels = next(decoded([("a", png(9))], 5))
    assert pixels.shape == (3, 5, 5)
    assert np.unique(pixels).tolist() == [9]
