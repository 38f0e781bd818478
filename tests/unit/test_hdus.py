"""Images out of FITS files from outside: what is given, and what damage and malice lead to."""

import bz2
import gzip
import io
import random
import resource

import numpy as np
import pytest
from astropy.io import fits

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import list_hdus, read_images, unpack

DATA = np.random.default_rng(1).normal(0, 1, (40, 48)).astype(np.float32)
WHOLE = (DATA * 1000).astype(np.int32)


def as_bytes(*hdus, first=None):
    file = io.BytesIO()
    fits.HDUList([first or fits.PrimaryHDU(), *hdus]).writeto(file, output_verify="ignore")
    return file.getvalue()


def packed(data, kind, **options):
    return as_bytes(fits.CompImageHDU(data, compression_type=kind, name="SCI", **options))


def edit(payload, **cards):
    """Change the values of cards in place, as the file says them."""
    for keyword, value in cards.items():
        place = payload.rindex(f"{keyword:<8}=".encode())
        card = f"{keyword:<8}= {value!s:>20}".ljust(80).encode()
        payload = payload[:place] + card + payload[place + 80 :]
    return payload


def shapes(payload):
    """Shapes of the images, none when the file is refused."""
    try:
        return [data.shape for _, data in read_images(payload)]
    except PayloadError:
        return []


def test_images_come_in_the_order_of_the_file():
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    cube = fits.ImageHDU(np.zeros((2, 3, 4), np.float32))
    payload = as_bytes(
        fits.ImageHDU(DATA, name="SCI"),
        table,
        cube,
        fits.CompImageHDU(WHOLE, name="INT"),
        first=fits.PrimaryHDU(DATA + 1),
    )
    images = [(header.get("EXTNAME"), data) for header, data in read_images(payload)]
    assert [name for name, _ in images] == [None, "SCI", "INT"]
    for (_, data), wanted in zip(images, (DATA + 1, DATA, WHOLE), strict=True):
        np.testing.assert_array_equal(data, wanted)


def test_axes_of_length_one_are_passed_over():
    payload = as_bytes(
        fits.ImageHDU(DATA[None, None]), fits.ImageHDU(np.stack([DATA] * 2)[:, None])
    )
    ((_, data),) = read_images(payload)
    np.testing.assert_array_equal(data, DATA)
    hdus = list_hdus(io.BytesIO(payload))
    assert [hdu.shape for hdu in hdus] == [None, (1, 40, 48), (2, 40, 48)]
    np.testing.assert_array_equal(hdus[2].read()[1], DATA)
    np.testing.assert_array_equal(hdus[1].read_box(slice(3, 9), slice(5, 40)), DATA[3:9, 5:40])


KINDS = ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "NOCOMPRESS"]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_integers_are_exact(kind):
    options = {"tile_shape": WHOLE.shape} if kind == "HCOMPRESS_1" else {}
    ((header, data),) = read_images(packed(WHOLE, kind, **options))
    np.testing.assert_array_equal(data, WHOLE)
    assert header["EXTNAME"] == "SCI"


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("tile", [(1, 48), (40, 48), (16, 10)])
def test_packed_floats_are_those_of_the_library(kind, tile):
    payload = packed(DATA, kind, tile_shape=tile)
    ((_, data),) = read_images(payload)
    np.testing.assert_array_equal(data, fits.getdata(io.BytesIO(payload), "SCI"))


def test_gzip_keeps_floats_exact():
    ((_, data),) = read_images(packed(DATA, "GZIP_2", quantize_level=0))
    np.testing.assert_array_equal(data, DATA)


def test_packed_otherwise_is_passed_over():
    mask = (np.abs(DATA) * 3).astype(np.int16)
    images = [fits.CompImageHDU(mask, compression_type="PLIO_1"), fits.ImageHDU(DATA)]
    ((_, data),) = read_images(as_bytes(*images))
    np.testing.assert_array_equal(data, DATA)


def test_blank_pixels_are_nan():
    hdu = fits.ImageHDU(np.array([[1, -5], [3, 4]], np.int16))
    hdu.header["BLANK"] = -5
    ((_, data),) = read_images(as_bytes(hdu))
    np.testing.assert_array_equal(data, [[1, np.nan], [3, 4]])


def test_primary_header():
    first = fits.PrimaryHDU()
    first.header["FLUXMAG0"] = 6.3e10
    hdus = list_hdus(io.BytesIO(as_bytes(fits.ImageHDU(DATA), first=first)))
    assert hdus[0].header["FLUXMAG0"] == 6.3e10


@pytest.mark.parametrize("payload", [b"", b"<html>", b"SIMPLE  =", b"SIMPLE  = " + b"x" * 5000])
def test_no_fits(payload):
    with pytest.raises(PayloadError):
        list(read_images(payload))


@pytest.mark.parametrize("length", [2880, 5_000_000])
def test_the_end_of_a_header_is_not_sought_in_the_whole_file(length):
    file = io.BytesIO(b"SIMPLE  =                    T".ljust(length))
    with pytest.raises(PayloadError, match="FITS header has no end"):
        list_hdus(file)
    assert file.tell() <= 1500 * 2880


@pytest.mark.parametrize("payload", [as_bytes(fits.ImageHDU(DATA)), packed(DATA, "RICE_1")])
def test_a_file_that_ends_too_early(payload):
    for length in (3000, 5760, 5761, len(payload) - 2881):
        assert shapes(payload[:length]) == []


HOSTILE = {
    "wide": edit(as_bytes(fits.ImageHDU(DATA)), NAXIS1=100_000, NAXIS2=100_000),
    "negative": edit(as_bytes(fits.ImageHDU(DATA)), NAXIS1=-48, NAXIS2=-40),
    "kind": edit(as_bytes(fits.ImageHDU(DATA)), BITPIX=-7),
    "packed wide": edit(packed(DATA, "RICE_1"), ZNAXIS1=100_000, ZNAXIS2=100_000),
    "packed other": edit(packed(DATA, "RICE_1"), ZNAXIS2=2999),
    "tile": edit(packed(DATA, "RICE_1"), ZTILE1=2_000_000_000),
    "no tile": edit(packed(DATA, "RICE_1"), ZTILE1=0),
    "block": edit(packed(WHOLE, "RICE_1"), ZVAL1=0),
    "long block": edit(packed(WHOLE, "RICE_1"), ZVAL1=2_000_000_000),
    "bytes": edit(packed(WHOLE, "RICE_1"), ZVAL2=3),
    "rows": edit(packed(DATA, "RICE_1"), NAXIS2=2_000_000_000),
    "no width": edit(packed(DATA, "RICE_1"), NAXIS1=0, NAXIS2=2_000_000_000),
    "heap": edit(packed(DATA, "RICE_1"), PCOUNT=2_000_000_000),
    "fields": edit(packed(DATA, "RICE_1"), TFIELDS=900),
}


@pytest.fixture
def _little_memory():
    """An address space that leaves a gigabyte more than there is now."""
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_an_error_or_change_nothing(name):
    assert shapes(HOSTILE[name]) in ([], [DATA.shape])


def bomb(members):
    """A packed image whose first tile unpacks to much more than the image."""
    tile = b"".join(gzip.compress(bytes(200_000_000 // members), mtime=0) for _ in range(members))
    column = fits.Column("COMPRESSED_DATA", "PB()", array=np.array([np.frombuffer(tile, np.uint8)]))
    hdu = fits.BinTableHDU.from_columns([column])
    cards = {"ZIMAGE": True, "ZCMPTYPE": "GZIP_1", "ZBITPIX": 8, "ZNAXIS": 2, "ZNAXIS1": 10}
    hdu.header.update({**cards, "ZNAXIS2": 10, "ZTILE1": 10, "ZTILE2": 10})
    return as_bytes(hdu)


@pytest.mark.parametrize("members", [1, 20_000])
def test_a_bomb_is_not_unpacked(members):
    with pytest.raises(PayloadError, match="larger than their image"):
        list(read_images(bomb(members)))


@pytest.mark.parametrize("pack", [gzip, bz2])
def test_unpack(pack):
    content = b"abc" * 1000
    for packed in (
        pack.compress(content),
        pack.compress(content[:9]) + pack.compress(content[9:]),
    ):
        assert unpack(io.BytesIO(packed), 3000).read() == content
    with pytest.raises(PayloadError, match="unpacked, the file is longer than"):
        unpack(io.BytesIO(pack.compress(content)), 2999)
    with pytest.raises(PayloadError, match="ends too early") as refusal:
        unpack(io.BytesIO(pack.compress(content)[:-6]), 3000)
    assert refusal.value.truncated
    file = io.BytesIO(content)
    assert unpack(file, 10) is file
    assert file.read() == content


@pytest.mark.usefixtures("_little_memory")
def test_random_damage_is_an_image_or_an_error():
    chance = random.Random(1)
    seeds = [as_bytes(fits.ImageHDU(DATA)), packed(DATA, "RICE_1"), packed(WHOLE, "GZIP_2")]
    seeds.append(packed(WHOLE, "HCOMPRESS_1", tile_shape=WHOLE.shape))
    for _ in range(300):
        payload = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 3, 30))):
            payload[chance.randrange(2880, len(payload))] = chance.choice(b"0123456789- T'\x00\xff")
        assert all(len(shape) == 2 for shape in shapes(bytes(payload)))
