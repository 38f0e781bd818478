"""Payloads are untrusted bytes: decoded as astropy does, or refused, never worse."""

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxymill.decoding.decode import (
    MAX_PIXELS,
    FitsCutout,
    PayloadError,
    has_bands,
    is_fits,
    read_fits,
    read_raster,
    read_samples,
)

REAL = [
    "astroclip_test_image",
    "gzbcnn_example_a",
    "gzbcnn_example_b",
    "zoodecals_example",
    "zoodecals_example_a",
    "zoodecals_example_a_py",
    "zoodecals_example_bad_pix",
    "zoodecals_example_c",
    "zoodecals_temp_small",
]


def raster(kind="JPEG", size=24):
    pixels = np.random.default_rng(2).integers(0, 256, (size, size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def by_astropy(payload):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(payload)) as hdus:
            return hdus[0].data.astype(np.float32), hdus[0].header


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)])
def test_every_bitpix_is_read_as_astropy_does(make_fits, dtype, shape):
    values = np.random.default_rng(3).integers(0, 100, shape).astype(dtype)
    payload = make_fits(values, "grz"[: shape[0]] if len(shape) == 3 else "r")
    planes = read_fits(payload).planes
    expected, _ = by_astropy(payload)
    assert list(planes) == (["g", "r", "z"] if len(shape) == 3 else ["r"])
    np.testing.assert_array_equal(np.stack(list(planes.values())).reshape(shape), expected)
    assert all(plane.dtype == np.float32 for plane in planes.values())


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4"])
@pytest.mark.parametrize(("scale", "zero"), [(0.25, -3.0), (1e-3, 5.0), (2.0, 0.0)])
def test_scaled_integers_are_read_as_astropy_does(make_fits, dtype, scale, zero):
    low, high = (
        (0, 255) if dtype == "u1" else np.array([np.iinfo(dtype).min + 1, np.iinfo(dtype).max])
    )
    values = np.random.default_rng(3).integers(low, high, (6, 6)).astype(dtype)
    payload = with_cards(make_fits(values, "r"), BSCALE=scale, BZERO=zero)
    expected, _ = by_astropy(payload)
    np.testing.assert_allclose(read_fits(payload).planes["r"], expected, rtol=1e-6)


def test_unsigned_integers_keep_their_precision(make_fits):
    """32-bit unsigned integers stand in the file with BZERO = 2³¹."""
    values = np.arange(2**20, 2**20 + 36, dtype=np.uint32).reshape(6, 6)
    planes = read_fits(make_fits(values, "r")).planes
    np.testing.assert_allclose(planes["r"], values.astype(np.float32))


def test_blank_integers_are_nan(make_fits):
    values = np.arange(36, dtype=np.int16).reshape(6, 6)
    payload = with_cards(make_fits(values, "r"), BLANK=7)
    expected, _ = by_astropy(payload)
    assert np.isnan(expected).sum() == 1
    np.testing.assert_array_equal(read_fits(payload).planes["r"], expected)


def with_cards(payload, **cards):
    """Set header cards without touching the data, which astropy would rescale."""
    end = payload.index(b"END" + b" " * 77) // 2880 * 2880 + 2880
    header = fits.Header.fromstring(payload[:end].decode("ascii"))
    for name, value in cards.items():
        header[name] = value
    return header.tostring().encode("ascii") + payload[end:]


def test_place_and_scale_are_those_of_the_wcs(make_fits):
    cutout = read_fits(
        make_fits(np.ones((3, 20, 30), np.float32), ra=359.9999, dec=-71.5, scale=0.4)
    )
    assert cutout.centre == pytest.approx((359.9999, -71.5), abs=1e-9)
    assert cutout.pixel_scale == pytest.approx(0.4)


def test_without_a_wcs_there_is_no_place():
    file = io.BytesIO()
    fits.PrimaryHDU(np.ones((4, 4), np.float32), fits.Header({"BANDS": "r"})).writeto(file)
    cutout = read_fits(file.getvalue())
    assert cutout.centre is None or cutout.pixel_scale is not None
    assert list(cutout.planes) == ["r"]


@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (1, 4, 5), (3, 1, 4, 5), (1, 3, 4, 5)])
def test_axes_of_length_one_are_passed_over(make_fits, shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    bands = "grz"[: np.prod(shape[:-2])]
    planes = read_fits(make_fits(values, bands)).planes
    assert list(planes) == list(bands)
    np.testing.assert_array_equal(list(planes.values()), values.reshape(-1, 4, 5))


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"BAND0": "g", "BAND1": "r", "BAND2": "z"}, "grz"),
        ({"BAND1": "g", "BAND2": "r", "BAND3": "z"}, "grz"),
        ({"BAND1": "g", "BAND2": "r"}, None),
        ({"BAND0": "g", "BAND1": "r", "BAND2": "z", "BAND3": "i"}, None),
        ({"BAND0": "g", "BAND2": "z"}, None),
        ({"BANDS": "grz"}, "grz"),
        ({"BANDS": "g,r, z"}, "grz"),
        ({"BANDS": "g r i z"}, None),
        ({"FILTER0": "g", "FILTER1": "r", "FILTER2": "z"}, "grz"),
        ({"FILTER1": "z", "FILTER2": "r", "FILTER3": "g"}, "zrg"),
        ({"FILTER1": "CLEAR", "FILTER2": "r"}, None),
        ({}, None),
    ],
)
def test_names_of_the_planes(make_fits, cards, expected):
    payload = with_cards(make_fits(np.ones((3, 4, 4), np.float32), None), **cards)
    if expected is None:
        with pytest.raises(PayloadError, match="names bands"):
            read_fits(payload)
    else:
        assert list(read_fits(payload).planes) == list(expected)
    assert has_bands(payload, "rz") == (expected is not None)
    assert not has_bands(payload, "ri")


def test_an_empty_datasum_is_none(cutout):
    read_fits(with_cards(cutout, DATASUM=""))
    with pytest.raises(PayloadError, match="DATASUM"):
        read_fits(with_cards(cutout, DATASUM="12"))


@pytest.mark.parametrize("place", [40, 3 * 80 + 35, 0, 8, 81])
def test_bytes_beyond_ascii_are_read_in_comments_only(cutout, place):
    changed = cutout[:place] + b"\xe7" + cutout[place + 1 :]
    if place == 40:
        assert list(read_fits(changed).planes) == ["g", "r", "z"]
    else:
        with pytest.raises(PayloadError):
            read_fits(changed)


@pytest.mark.parametrize("bands", [None, "gr", "grzi", "ggr", ""])
def test_bands_that_do_not_name_the_planes_are_refused(make_fits, bands):
    with pytest.raises(PayloadError, match="names bands"):
        read_fits(make_fits(np.ones((3, 4, 4), np.float32), bands))


@pytest.mark.parametrize(
    "axes", [(100_000, 100_000), (MAX_PIXELS, 2), (2**31, 2**31), (17, 4, 4), (9, 3000, 3001)]
)
def test_a_huge_claim_is_refused_before_memory_is_taken(make_fits, axes):
    cards = {"NAXIS": len(axes), **{f"NAXIS{i}": n for i, n in enumerate(axes[::-1], start=1)}}
    payload = with_cards(make_fits(np.ones((3, 4, 4), np.float32)), **cards)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="larger than any cutout"):
            read_fits(payload)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("axes", [(0, 5), (-3, 5), (5,), (2, 2, 3, 4)])
def test_odd_axes_are_refused(make_fits, axes):
    cards = {"NAXIS": len(axes), **{f"NAXIS{i}": n for i, n in enumerate(axes[::-1], start=1)}}
    with pytest.raises(PayloadError, match="not those of an image"):
        read_fits(with_cards(make_fits(np.ones((2, 2), np.float32), "r"), **cards))


@given(st.data())
def test_truncation_is_told(cutout, data):
    data_end = 2880 + 3 * 32 * 32 * 4
    cut = data.draw(st.integers(0, data_end - 1))
    with pytest.raises(PayloadError) as refusal:
        read_fits(cutout[:cut])
    assert refusal.value.truncated


def test_missing_padding_is_no_truncation(cutout):
    read_fits(cutout[: 2880 + 3 * 32 * 32 * 4])


def changed(data, payload):
    """Draw a mutation: bytes overwritten (more often in the head), inserted, cut or repeated."""
    content = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        head = data.draw(st.booleans())
        place = data.draw(st.integers(0, min(len(content), 1500 if head else len(content)) - 1))
        blob = data.draw(st.binary(max_size=12) | st.sampled_from(NASTY))
        if data.draw(st.integers(0, 3)):
            content[place : place + len(blob)] = blob
        else:
            content[place:place] = blob
    return bytes(content[: data.draw(st.none() | st.integers(0, len(content)))])


NASTY = [
    b"1E999",
    b"99999999999",
    b"NaN",
    b"-1",
    b"'",
    b"T",
    b"END",
    b"\xff\xff\xff\xff",
    b"\x00\x00",
]


def decodes_or_refuses(read, payload):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(payload)
        except PayloadError:
            return None


@settings(max_examples=800)
@given(st.data())
def test_mutated_fits_is_decoded_or_refused(cutout, data):
    decoded = decodes_or_refuses(read_fits, changed(data, cutout))
    assert decoded is None or isinstance(decoded, FitsCutout)


CARDS = [
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "NAXIS3",
    "BSCALE",
    "BZERO",
    "BANDS",
    "BAND0",
    "CTYPE1",
    "CTYPE2",
]
CARDS += [
    "CRVAL1",
    "CRVAL2",
    "CRPIX1",
    "CD1_1",
    "CD2_2",
    "PV1_1",
    "A_ORDER",
    "LONPOLE",
    "EQUINOX",
    "RADESYS",
    "WCSAXES",
]
VALUES = st.one_of(
    st.sampled_from([-64, 8, 0, 1, 2, 3, 1e300, -1, 2**63, "1E999", "T", True]),
    st.integers(-9, 9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("ABCDEXYZ-01 ", max_size=12),
)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(CARDS), VALUES, min_size=1, max_size=3))
def test_any_header_values_are_decoded_or_refused(cutout, cards):
    decodes_or_refuses(read_fits, with_cards(cutout, **cards))


@settings(max_examples=400)
@given(
    st.sampled_from(CARDS), st.sampled_from(["1E999", "-1E999", "1E400", "(1,2)", "5.5", "'T'", ""])
)
def test_any_spelling_of_a_value_is_decoded_or_refused(cutout, card, spelling):
    line = f"{card:8}= {spelling:>20}".ljust(80).encode("ascii")
    place = cutout.find(card.ljust(8).encode() + b"=")
    place = place if place >= 0 else cutout.index(b"END" + b" " * 77) - 80
    decodes_or_refuses(read_fits, cutout[:place] + line + cutout[place + 80 :])


@settings(max_examples=300)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), data=st.data())
def test_mutated_raster_is_decoded_or_refused(kind, data):
    decodes_or_refuses(read_raster, changed(data, raster(kind)))


@settings(max_examples=300)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"SIMPLE  =", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]),
)
def test_random_bytes_are_refused(tail, magic):
    read = read_fits if is_fits(magic + tail) else read_raster
    assert decodes_or_refuses(read, magic + tail) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_raster_is_read_as_it_is_drawn(kind):
    pixels = read_raster(raster(kind))
    assert pixels.shape == (24, 24, 3)
    assert pixels.dtype == np.uint8
    with Image.open(io.BytesIO(raster(kind))) as image:
        np.testing.assert_array_equal(pixels, np.asarray(image))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "BMP"])
def test_other_formats_are_told(kind):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(file, kind)
    with pytest.raises(PayloadError, match=f"it is {kind}, which may be converted to PNG"):
        read_raster(file.getvalue())


def test_other_formats_are_refused():
    with pytest.raises(PayloadError, match="neither FITS nor"):
        read_raster(raster("GIF"))


def png_claiming(width, height):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [3001, 10_000, 100_000])
def test_an_oversize_png_is_refused_before_memory_is_taken(side):
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError):
            read_raster(png_claiming(side, side))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_whole_picture_with_something_after_it_is_refused(kind):
    read_raster(raster(kind) + b"\0\0\r\n")
    with pytest.raises(PayloadError, match="ends before the file"):
        read_raster(raster(kind) + b"</html>")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("missing", [1, 2, 3, 40])
def test_a_picture_without_its_end_is_truncated(kind, missing):
    with pytest.raises(PayloadError) as refusal:
        read_raster(raster(kind)[:-missing])
    assert refusal.value.truncated


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"optimize": True}])
@pytest.mark.parametrize("missing", [40, 300])
def test_a_jpeg_with_too_few_data_is_refused_though_it_has_an_end(options, missing):
    """libjpeg draws the rest grey and says nothing."""
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    payload = file.getvalue()
    read_raster(payload)
    cut = payload[: -2 - missing] + payload[-2:]
    Image.open(io.BytesIO(cut)).load()
    with pytest.raises(PayloadError, match="end too early"):
        read_raster(cut)


def test_a_jpeg_of_too_many_scans_is_refused():
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, "JPEG", progressive=True)
    payload = file.getvalue()
    last = payload[payload.rindex(b"\xff\xda") : -2]
    with pytest.raises(PayloadError, match="1006 scans"):
        read_raster(payload[:-2] + 1000 * last + payload[-2:])


def test_a_huge_webp_canvas_is_refused():
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "WEBP", exif=b"Exif\0\0a")
    payload = file.getvalue()
    huge = (99_999).to_bytes(3, "little") * 2
    with pytest.raises(PayloadError, match="100000×100000"):
        read_raster(payload[:24] + huge + payload[30:])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(PayloadError, match="animation"):
        read_raster(file.getvalue())


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_16_bit_grey_keeps_its_upper_bits():
    grey = np.arange(0, 2**16, 2**8, dtype=np.uint16).reshape(16, 16)
    pixels = read_raster(saved(Image.fromarray(grey)))
    np.testing.assert_array_equal(pixels[..., 1], grey >> 8)


def png_of_16_bits(samples, colour_type):
    """A PNG as its specification says, since Pillow writes no colours of 16 bits."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
@pytest.mark.parametrize("depth", [8, 12, 16])
def test_the_upper_bits_of_the_depth_are_shown(colour_type, channels, depth):
    samples = np.random.default_rng(1).integers(0, 2**depth, (6, 9, channels)).astype(np.uint16)
    shown = samples[..., :3] if channels > 2 else np.repeat(samples[..., :1], 3, axis=2)
    if channels in (2, 4):
        samples[..., -1] = 65535
        samples[2, 3, -1] = 0
        shown[2, 3] = 0
    payload = png_of_16_bits(samples, colour_type)
    np.testing.assert_array_equal(read_samples(payload), shown)
    np.testing.assert_array_equal(read_raster(payload, depth), shown >> (depth - 8))
    np.testing.assert_array_equal(read_raster(payload), shown >> 8)
    beyond = read_raster(png_of_16_bits(samples, colour_type), 8)
    np.testing.assert_array_equal(beyond, np.minimum(shown, 255))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA"])
def test_other_modes_are_shown_in_their_colours(mode):
    ramp = np.linspace(0, 255, 300).astype(np.uint8).reshape(10, 30)
    image = Image.fromarray(np.dstack([ramp] * 3)).convert(mode)
    payload = saved(image, "JPEG", quality=100) if mode == "CMYK" else saved(image)
    expected = image.convert("RGB") if mode != "LA" else image.convert("L").convert("RGB")
    assert np.abs(read_raster(payload).astype(int) - np.asarray(expected)).max() <= 4


def test_what_is_transparent_is_black():
    white = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    white.putpixel((1, 2), (255, 255, 255, 255))
    pixels = read_raster(saved(white))
    assert pixels[2, 1].tolist() == [255] * 3
    assert pixels.sum() == 3 * 255
    palette = Image.new("P", (4, 4))
    palette.putpalette([200, 0, 0, 0, 0, 200])
    assert read_raster(saved(palette)).tolist() == [[[200, 0, 0]] * 4] * 4
    assert not read_raster(saved(palette, transparency=0)).any()


def test_an_orientation_is_not_followed():
    image = Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3) % 251)
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(read_raster(saved(image, exif=exif)), np.asarray(image))


def test_datasum_is_checked(cutout):
    with fits.open(io.BytesIO(cutout)) as hdus:
        hdus[0].add_datasum()
        file = io.BytesIO()
        hdus.writeto(file)
    payload = file.getvalue()
    read_fits(payload)
    with pytest.raises(PayloadError, match="DATASUM"):
        read_fits(payload[:5000] + bytes([payload[5000] ^ 1]) + payload[5001:])


def test_what_follows_the_data_is_another_hdu_or_nothing(cutout):
    read_fits(cutout + b"\0" * 2880)
    with fits.open(io.BytesIO(cutout)) as hdus:
        file = io.BytesIO()
        fits.HDUList([*hdus, fits.ImageHDU(np.ones((3, 3)))]).writeto(file)
    read_fits(file.getvalue())
    for payload in (cutout + b"x", with_cards(cutout, NAXIS2=31), with_cards(cutout, BITPIX=16)):
        with pytest.raises(PayloadError, match="do not end where the header says"):
            read_fits(payload)


NASTY_WCS = [
    {"A_ORDER": 99999, "B_ORDER": 99999},
    {"A_ORDER": 9, "B_ORDER": 9, "A_9_0": 1e308},
    {"CTYPE1": "RA---TAB", "CTYPE2": "DEC--TAB", "PS1_0": "x"},
    {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
    {"CUNIT1": "arcsec"},
    {"PC1_1": 3.0},
    {"LONPOLE": "north"},
    {"CD1_1": 1e300},
]


@pytest.mark.parametrize("cards", NASTY_WCS)
def test_a_wcs_that_cannot_be_trusted_is_none(cutout, cards):
    assert read_fits(with_cards(cutout, **cards)).centre is None


@pytest.mark.parametrize(
    "cards", [{"WCSAXES": 2**40}, {"CPDIS1": "LOOKUP"}, {"D2IMDIS1": "LOOKUP"}]
)
def test_other_cards_do_not_reach_the_wcs_library(cutout, cards):
    assert read_fits(with_cards(cutout, **cards)).centre == pytest.approx((150, 2))


@given(
    st.sampled_from(["TAN", "SIN", "ZEA", "TPV", "TAN-SIP"]),
    st.floats(0, 360, exclude_max=True),
    st.floats(-85, 85),
    st.floats(-180, 180),
    st.sampled_from(["CD", "PC", "CROTA2"]),
    st.floats(-300, 300),
)
def test_every_spelling_of_a_wcs_is_read_as_astropy_does(make_fits, kind, ra, dec, turn, way, off):
    header = fits.Header({"CRVAL1": ra, "CRVAL2": dec, "CRPIX1": 9.5 + off, "CRPIX2": 7.0})
    header["CTYPE1"], header["CTYPE2"] = f"RA---{kind}", f"DEC--{kind}"
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = np.array([[cos, -sin], [sin, cos]])
    if way == "CD":
        matrix = np.diag([-1e-4, 1e-4]) @ matrix
    else:
        header["CDELT1"], header["CDELT2"] = -1e-4, 1e-4
    if way == "CROTA2":
        header["CROTA2"] = turn
    else:
        header.update({f"{way}{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)})
    if kind == "TAN-SIP":
        header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-7, "B_1_1": -2e-7})
    if kind == "TPV":
        header.update({"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 1e-6})
    payload = with_cards(make_fits(np.ones((18, 20), np.float32), "r"), CD1_1=1)
    end = payload.index(b"CTYPE1  =")
    head = payload[:end] + header.tostring(endcard=False, padding=False).encode("ascii")
    head += b"BANDS   = 'r       '".ljust(80) + b"END".ljust(80)
    cutout = read_fits(head + b" " * (-len(head) % 2880) + payload[2880:])
    expected = WCS(header).all_pix2world(9.5, 8.5, 0)
    np.testing.assert_allclose(cutout.centre, [expected[0] % 360, expected[1]], atol=1e-9)
    assert cutout.pixel_scale == pytest.approx(0.36, rel=1e-2)


def test_truncated_jpeg_is_told():
    payload = raster(size=64)
    with pytest.raises(PayloadError) as refusal:
        read_raster(payload[: len(payload) // 2])
    assert refusal.value.truncated


@pytest.mark.parametrize("name", REAL)
def test_real_cutouts_are_read_as_astropy_does(shared_data, name):
    payload = (shared_data / "legacy_grz_fits" / f"{name}.fits").read_bytes()
    cutout = read_fits(payload)
    expected, header = by_astropy(payload)
    assert list(cutout.planes) == ["g", "r", "z"]
    np.testing.assert_array_equal(np.stack(list(cutout.planes.values())), expected)
    wcs = WCS(header, naxis=2)
    middle = wcs.wcs_pix2world([[(expected.shape[2] - 1) / 2, (expected.shape[1] - 1) / 2]], 0)[0]
    np.testing.assert_allclose(cutout.centre, middle, atol=1e-9)


def test_a_real_truncated_cutout_is_told(shared_data):
    payload = (shared_data / "legacy_grz_fits" / "zoodecals_example_incomplete.fits").read_bytes()
    with pytest.raises(PayloadError) as refusal:
        read_fits(payload)
    assert refusal.value.truncated
