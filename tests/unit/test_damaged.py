"""Damaged payloads: no crash, no hang, and no ``ok`` that another library would not give.

``GALAXYMILL_DAMAGED=100000`` runs more of them than the usual few thousand.
"""

import io
import os
import re
import time
import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from galaxymill.decoding.decode import is_fits, read_fits, read_raster
from galaxymill.decoding.place import SCALE_TOLERANCE
from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import image_row
from galaxymill.surveys.base import Target
from galaxymill.surveys.validate import CENTRE_TOLERANCE_PIXELS, check_payload

COUNT = int(os.environ.get("GALAXYMILL_DAMAGED", "2400"))
MAX_CPU_S = 1.0
SIZE = 48
PLACE = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CD[12]_|PC[12]_|PV[12]_)[12]|L..POLE|A_.*"
)
RECIPE = {True: "decals", False: "passthrough"}


@dataclass(frozen=True)
class Seed:
    """A good payload, and what was asked for when it came."""

    name: str
    payload: bytes
    target: Target
    bands: tuple[str, ...] | None = None
    data_end: int | None = None


def sky(seed, *shape):
    """Noise with a galaxy in the middle."""
    y, x = np.indices(shape[-2:]) - (shape[-1] - 1) / 2
    noise = np.random.default_rng(seed).normal(0, 0.005, shape)
    return (noise + np.exp(-np.hypot(x, y) / 5)).astype(np.float32)


def fits_seed(name, make_fits, data, bands, **cards):
    payload = make_fits(data, bands)
    with fits.open(io.BytesIO(payload), do_not_scale_image_data=True) as hdus:
        hdus[0].header.update(cards)
        file = io.BytesIO()
        hdus.writeto(file)
    end = file.getvalue().index(b"END" + b" " * 77) // 2880 * 2880 + 2880 + data.nbytes
    target = Target("g", 150.0, 2.0, 0.262, SIZE)
    return Seed(name, file.getvalue(), target, tuple(bands), end)


def raster_seed(name, kind, mode="RGB", **options):
    levels = (np.clip(sky(5, 3, SIZE, SIZE), 0, 1) ** 0.5 * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels.transpose(1, 2, 0)).convert(mode).save(file, kind, **options)
    return Seed(name, file.getvalue(), Target("g", 150.0, 2.0, 0.262, SIZE))


@pytest.fixture(scope="module")
def synthetic(make_fits):
    counts = (sky(3, SIZE, SIZE) * 2000).astype(np.int16)
    scaled = {"BSCALE": 0.0005, "BZERO": 0.01, "BLANK": -999}
    return [
        fits_seed("grz", make_fits, sky(1, 3, SIZE, SIZE), "grz", BAND0="g", BAND1="r", BAND2="z"),
        fits_seed("single band", make_fits, sky(2, SIZE, SIZE), "r"),
        fits_seed("int16", make_fits, counts, "r", **scaled),
        raster_seed("jpeg", "JPEG", quality=90),
        raster_seed("jpeg 4:4:4", "JPEG", subsampling=0, optimize=True),
        raster_seed("jpeg progressive", "JPEG", progressive=True),
        raster_seed("jpeg restarts", "JPEG", restart_marker_rows=1),
        raster_seed("jpeg grey", "JPEG", "L"),
        raster_seed("jpeg cmyk", "JPEG", "CMYK"),
        raster_seed("png", "PNG"),
        raster_seed("png palette", "PNG", "P"),
        raster_seed("png alpha", "PNG", "RGBA"),
        raster_seed("webp", "WEBP"),
        raster_seed("webp lossless", "WEBP", lossless=True, exif=b"Exif\0\0abc"),
    ]


@pytest.fixture(scope="module")
def real(shared_data):
    seeds = []
    for name in ("zoodecals_temp_small", "gzbcnn_example_b", "zoodecals_example_bad_pix"):
        payload = (shared_data / "legacy_grz_fits" / f"{name}.fits").read_bytes()
        cutout = read_fits(payload)
        side = len(cutout.planes["g"])
        target = Target(name, *cutout.centre, cutout.pixel_scale, side)
        seeds.append(Seed(name, payload, target, tuple("grz"), 2880 + 3 * side * side * 4))
    for folder in ("gz2_sdss_jpeg", "rings_decals_png"):
        for path in sorted((shared_data / folder / "images").iterdir())[:8]:
            seeds.append(Seed(path.name, path.read_bytes(), Target("g", 1.0, 1.0, 0.4, 424)))
    return seeds


# Each kind of damage takes a generator, the seed's bytes and another seed's bytes.


def flip_bits(rng, payload, _):
    content = bytearray(payload)
    for place in rng.integers(0, len(content), rng.integers(1, 9)):
        content[place] ^= 1 << rng.integers(8)
    return bytes(content)


def overwrite(rng, payload, _):
    place = rng.integers(0, len(payload))
    if rng.integers(2):
        place = rng.integers(0, min(len(payload), 4000))
    blob = [rng.bytes(rng.integers(1, 65)), b"\0" * 64, b"\xff" * 64][rng.integers(3)]
    return payload[:place] + blob + payload[place + len(blob) :]


def truncate(rng, payload, _):
    back = rng.integers(1, 64) if rng.integers(2) else rng.integers(1, len(payload) + 1)
    return payload[: max(0, len(payload) - back)]


def block(rng, payload):
    start = rng.integers(0, len(payload))
    return start, start + rng.integers(1, min(len(payload) // 3, 5761))


def remove_block(rng, payload, _):
    start, end = block(rng, payload)
    return payload[:start] + payload[end:]


def repeat_block(rng, payload, _):
    start, end = block(rng, payload)
    return payload[:end] + payload[start:]


def swap_blocks(rng, payload, _):
    start, end = block(rng, payload)
    end, last = min(end, len(payload)), min(2 * end - start, len(payload))
    return payload[:start] + payload[end:last] + payload[start:end] + payload[last:]


def splice(rng, payload, other):
    return payload[: rng.integers(0, len(payload))] + other[rng.integers(0, len(other)) :]


def append(rng, payload, other):
    return payload + [rng.bytes(200), b"\0" * 2880, other, b"\xff\xd9"][rng.integers(4)]


CARDS = "SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 PCOUNT GCOUNT BSCALE BZERO BLANK BANDS BAND0 "
CARDS += "CTYPE1 CTYPE2 CRVAL1 CRVAL2 CRPIX1 CRPIX2 CD1_1 CD1_2 CD2_1 CD2_2 CDELT1 PC1_1 CROTA2 "
CARDS += "CUNIT1 LONPOLE LATPOLE PV1_1 PV2_3 WCSAXES A_ORDER B_ORDER A_2_0 CPDIS1 D2IMDIS1 DATASUM "
CARDS += "CTYPE3 RADESYS EQUINOX CONTINUE END"
VALUES = "-64 -32 8 16 0 1 2 3 48 47 999 -1 1E10 1E-10 1E308 1E999 NAN 99999999999 1.5 T F 'grz' "
VALUES += "'RA---TAN' 'DEC--TAN' 'RA---SIN' 'RA---TAB' 'GLON-TAN' 'RA---TAN-SIP' 'LOOKUP' 'arcsec' "
VALUES += "'&' '' ' é' (1,2)"


def edit_card(rng, payload, _):
    """Replace a header card, or add one; pictures get their first bytes overwritten instead."""
    if not is_fits(payload):
        return overwrite(rng, payload[:200], _) + payload[200:]
    keyword, value = rng.choice(CARDS.split()), rng.choice(VALUES.split(" "))
    card = f"{keyword:<8}= {value:>20}".ljust(80)[:80].encode("latin-1")
    place = payload.find(f"{keyword:<8}=".encode())
    if place < 0:
        place = payload.index(b"END" + b" " * 77)
        return payload[:place] + card + payload[place:][:80] + payload[place + 160 :]
    return payload[:place] + card + payload[place + 80 :]


def nudge_number(rng, payload, _):
    """Change one digit or sign in the header."""
    head = np.frombuffer(payload[:2880], np.uint8)
    places = np.flatnonzero((head >= ord("0")) & (head <= ord("9")) | (head == ord("-")))
    if not is_fits(payload) or not len(places):
        return flip_bits(rng, payload, _)
    place = rng.choice(places)
    return (
        payload[:place] + b"0123456789- "[(at := rng.integers(12)) : at + 1] + payload[place + 1 :]
    )


DAMAGES = [flip_bits, overwrite, truncate, remove_block, repeat_block, swap_blocks, splice]
DAMAGES += [append, edit_card, nudge_number]


def cases(seeds, count):
    for number in range(count):
        rng = np.random.default_rng(number)
        seed, damage = seeds[number % len(seeds)], DAMAGES[rng.integers(len(DAMAGES))]
        other = seeds[rng.integers(len(seeds))].payload
        payload = damage(rng, seed.payload, other)
        if payload != seed.payload:
            yield seed, damage.__name__, payload


def is_wrong(seed, damage, payload):
    """Say why a payload that was called ok is not; empty when it is, or nobody could tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_fits(payload):
            return fits_is_wrong(seed, damage, payload)
    if damage == "truncate":
        return "truncated"
    if Image.open(io.BytesIO(payload)).size != (seed.target.size, seed.target.size):
        return "other size"
    same = np.array_equal(read_raster(payload), read_raster(seed.payload))
    return "" if same or not payload.startswith(b"\x89PNG") else "other pixels"


def fits_is_wrong(seed, damage, payload):
    if damage == "truncate" and len(payload) < seed.data_end:
        return "truncated"
    try:
        with fits.open(io.BytesIO(payload)) as hdus:
            data, header = hdus[0].data, hdus[0].header
            header.tostring()
    except (OSError, fits.VerifyError):
        return ""  # It minds unreadable cards that say nothing about the image.
    planes = np.stack(list(read_fits(payload).planes.values())).reshape(data.shape)
    good = np.isfinite(planes)  # It does not mind BLANK = 0.
    np.testing.assert_allclose(planes[good], data[good], rtol=1e-5, atol=1e-6)
    if data.shape[-2:] != (seed.target.size,) * 2:
        return "other size"
    if not set(seed.bands) <= set(read_fits(payload).planes):
        return "other bands"
    # The other cards make the WCS library fail: WCSAXES = 99999999999 takes all memory.
    wcs = WCS(fits.Header([card for card in header.cards if PLACE.fullmatch(card.keyword)]))
    middle = SkyCoord(*wcs.all_pix2world(*[(seed.target.size - 1) / 2] * 2, 0), unit="deg")
    off = middle.separation(SkyCoord(seed.target.ra, seed.target.dec, unit="deg")).arcsec
    if off / seed.target.pixel_scale > CENTRE_TOLERANCE_PIXELS * 1.1:
        return f"{off} arcsec away"
    scales = np.sqrt((wcs.pixel_scale_matrix**2).sum(axis=0)) * units.deg.to(units.arcsec)
    wrong = np.abs(scales / seed.target.pixel_scale - 1) > 2 * SCALE_TOLERANCE
    return f"pixel scales {scales}" if wrong.any() else ""


def run(seeds, count):
    """Check and render every case; give the verdicts counted and the longest CPU time."""
    verdicts, slowest, wrong = Counter(), 0.0, []
    settings = {kind: RECIPES[recipe].settings(size=SIZE) for kind, recipe in RECIPE.items()}
    for number, (seed, damage, payload) in enumerate(cases(seeds, count)):
        start = time.process_time()
        verdict = check_payload(payload, seed.target, seed.bands, scale_tolerance=SCALE_TOLERANCE)
        kind = is_fits(payload)
        row = image_row(
            {"object_id": "g", "status": verdict.status, "payload": payload},
            RECIPE[kind],
            settings[kind],
        )
        slowest = max(slowest, time.process_time() - start)
        verdicts[seed.name, damage, verdict.status] += 1
        if verdict.status == "ok":
            assert row["image"] is not None
            if why := is_wrong(seed, damage, payload):
                wrong.append((number, seed.name, damage, why))
    return verdicts, slowest, wrong


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("which", "share"), [("synthetic", 0.85), ("real", 0.15)])
def test_damaged_payloads_are_decoded_or_refused_and_never_wrongly_ok(which, share, request):
    seeds = request.getfixturevalue(which)
    for seed in seeds:
        assert (
            check_payload(
                seed.payload, seed.target, seed.bands, scale_tolerance=SCALE_TOLERANCE
            ).status
            == "ok"
        ), seed.name
    verdicts, slowest, wrong = run(seeds, int(COUNT * share))
    assert not wrong
    assert slowest < MAX_CPU_S
    assert {status for *_, status in verdicts} >= {"ok", "invalid"}
