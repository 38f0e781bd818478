"""The simulated cutout service over real sockets, case by case of the viewer's protocol."""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from galaxymill.simulation.faults import Faults
from galaxymill.simulation.galaxies import render
from galaxymill.simulation.server import serve
from galaxymill.simulation.sky import simulate_sky

SIZES = range(20, 60, 4)
TRUTH = simulate_sky(20, seed=1)
HERE = {"ra": TRUTH["ra"][0].as_py(), "dec": TRUTH["dec"][0].as_py()}
SMALL = HERE | {"layer": "simulated", "pixscale": 0.4, "size": 40}
CALM = {"off_footprint": 0, "empty_z": 0, "slow": 0, "throttled": 0, "unavailable": 0}


@pytest.fixture(scope="module")
def client():
    with serve(TRUTH, 1, Faults.none()) as url, httpx.Client(base_url=url + "/viewer/") as client:
        yield client


def faulty(**faults):
    return serve(TRUTH, 1, Faults(**(CALM | faults)))


def cutout(answer):
    assert answer.status_code == 200
    with fits.open(io.BytesIO(answer.content)) as hdus:
        return hdus[0].header.copy(), hdus[0].data.copy()


def test_fits_is_the_viewer_s(client):
    answer = client.get("fits-cutout", params=SMALL)
    header, data = cutout(answer)
    assert len(answer.content) % 2880 == 0
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert data.shape == (3, 40, 40)
    assert data.dtype == np.dtype(">f4")
    assert header["SURVEY"] == "simulated"
    assert [header["BANDS"], *(header[f"BAND{i}"] for i in range(3))] == ["grz", "g", "r", "z"]
    assert "CHECKSUM" not in header
    assert (header["CRPIX1"], header["CRPIX2"]) == (20.5, 20.5)
    centre = WCS(header, naxis=2).wcs_pix2world([[20.5, 20.5]], 1)[0]
    np.testing.assert_allclose(centre, [HERE["ra"], HERE["dec"]], atol=1e-9)
    np.testing.assert_array_equal(data, render(TRUTH, HERE["ra"], HERE["dec"], 0.4, 40))


def test_same_request_same_bytes(client):
    first, second = (client.get("fits-cutout", params=SMALL) for _ in range(2))
    assert first.content == second.content


def test_defaults_are_256_native_pixels(client):
    header, data = cutout(client.get("fits-cutout", params=HERE))
    assert data.shape == (3, 256, 256)
    assert header["CD2_2"] * 3600 == pytest.approx(0.262)


def test_one_band_is_two_dimensional(client):
    header, data = cutout(client.get("fits-cutout", params=SMALL | {"bands": "r"}))
    assert data.shape == (40, 40)
    assert header["BANDS"] == "r"


def test_width_and_height(client):
    header, data = cutout(client.get("fits-cutout", params=SMALL | {"width": 30, "height": 20}))
    assert data.shape == (3, 20, 30)
    assert (header["CRPIX1"], header["CRPIX2"]) == (15.5, 10.5)


def test_jpeg_is_the_fits_flipped(client):
    answer = client.get("jpeg-cutout", params=SMALL)
    assert answer.headers["Content-Type"] == "image/jpeg"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)), dtype=float)
    assert pixels.shape == (40, 40, 3)
    _, data = cutout(client.get("fits-cutout", params=SMALL))
    seen, expected = pixels.mean(axis=2), np.arcsinh(data[1] / 0.014)[::-1]
    correlation = np.corrcoef(seen.ravel(), expected.ravel())[0, 1]
    assert correlation > 0.8
    assert correlation > np.corrcoef(seen[::-1].ravel(), expected.ravel())[0, 1]


@pytest.mark.parametrize("kind", ["fits-cutout", "jpeg-cutout"])
@pytest.mark.parametrize("where", [{}, {"ra": 150}, {"ra": "x", "dec": 2}, {"ra": "nan", "dec": 2}])
def test_missing_position(client, kind, where):
    answer = client.get(kind, params=where)
    assert (answer.status_code, answer.text) == (400, "Need ra,dec keywords")


@pytest.mark.parametrize("size", ["12.5", "big", "0", "-3"])
def test_bad_size(client, size):
    assert client.get("fits-cutout", params=SMALL | {"size": size}).status_code == 500


def test_unknown_layer_is_no_error(client):
    answer = client.get("fits-cutout", params=SMALL | {"layer": "ls-dr99"})
    assert (answer.status_code, answer.text) == (200, "no such layer")


def test_unknown_band_is_replaced(client):
    header, data = cutout(client.get("fits-cutout", params=SMALL | {"bands": "rY"}))
    assert header["BANDS"] == "grz"
    assert data.shape == (3, 40, 40)


def test_size_is_clamped(client):
    params = SMALL | {"size": 4000, "height": 2, "pixscale": 0.262}
    _, data = cutout(client.get("fits-cutout", params=params))
    assert data.shape == (3, 2, 3000)


def test_unknown_path(client):
    assert client.get("cutouts").status_code == 404


def test_off_the_footprint():
    with faulty(off_footprint=1) as url, httpx.Client(base_url=url + "/viewer/") as client:
        for _ in range(3):
            assert client.get("fits-cutout", params=SMALL).status_code == 500
        answer = client.get("jpeg-cutout", params=SMALL)
        assert answer.status_code == 200
        assert np.ptp(np.asarray(Image.open(io.BytesIO(answer.content)))) == 0


def test_an_empty_band():
    with faulty(empty_z=20) as url:
        _, data = cutout(httpx.get(url + "/viewer/fits-cutout", params=SMALL))
    assert data[:2].any()
    assert not data[2].any()


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"), [("throttled", 429, "1"), ("unavailable", 503, None)]
)
def test_refused_at_first_only(fault, status, retry_after):
    with faulty(**{fault: 1}) as url, httpx.Client(base_url=url + "/viewer/") as client:
        first = client.get("fits-cutout", params=SMALL)
        assert first.status_code == status
        assert first.headers.get("Retry-After") == retry_after
        cutout(client.get("fits-cutout", params=SMALL))


def test_slow_answers():
    with faulty(slow=1) as url:
        start = time.monotonic()
        cutout(httpx.get(url + "/viewer/fits-cutout", params=SMALL))
        assert time.monotonic() - start > 0.3


def test_too_fine_pixels(client):
    assert client.get("fits-cutout", params=SMALL | {"pixscale": 1e-4}).status_code == 500


def test_many_clients_at_once(client):
    alone = [client.get("fits-cutout", params=SMALL | {"size": size}).content for size in SIZES]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: client.get("fits-cutout", params=SMALL | {"size": n}), SIZES)
        assert [answer.content for answer in answers] == alone


def test_the_service_ends_with_its_context():
    with httpx.Client() as client:  # Keeps its connection alive.
        with serve(TRUTH, 1, Faults.none()) as url:
            cutout(client.get(url + "/viewer/fits-cutout", params=SMALL))
        with pytest.raises(httpx.TransportError):
            client.get(url + "/viewer/fits-cutout", params=SMALL)
