"""Galaxies shown elsewhere, beside what the simulator draws there; time and memory.

400 galaxies of the simulated sky, 256 pixels, are moved by service `observed`, and drawn farther
away by the simulator itself: half as large and a quarter as bright, say. A classifier tries to tell
the ones from the others, by hand features and by features of EfficientNet-lite0 (0.5: it cannot).
Beside it, what is often done instead: pixels binned, and all of the noise added. Then flux, noise
and its correlation; and simulated mergers and real galaxies, where these are at hand.

    make bench-observed
    python benchmarks/observed.py --galaxies 100
"""

import argparse
import resource
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.cosmology import Planck18
from astropy.io import fits
from figures import SHORT, figure
from processes import apart
from scipy.ndimage import center_of_mass

from galaxymill.decoding.decode import PayloadError, read_fits
from galaxymill.decoding.place import tangent_grid
from galaxymill.images.render import image_row
from galaxymill.images.settings import DecalsSettings
from galaxymill.products import CUTOUTS
from galaxymill.simulation.galaxies import NOISE_PER_ARCSEC, SEEING_ARCSEC, render
from galaxymill.simulation.sky import simulate_sky
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import open_product, write_product
from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.mosaics.mosaic import CutoutForm
from galaxymill.surveys.observe.optics import depth_of, sky_sigma
from galaxymill.surveys.observe.sky import REACH, measure_sky
from galaxymill.surveys.services.observed import ObservedService, ObservedSettings
from galaxymill.surveys.services.synthetic import SyntheticService, SyntheticSettings
from galaxymill.surveys.telescope import Telescope
from galaxymill.web.network import Network

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BANDS, SIDE, PIXEL = "grz", 256, 0.262
LENGTHS = (
    *("petro_r50", "petro_r90", "half_light_radius", "bulge_radius", "bar_length"),
    *("ring_radius", "companion_distance"),
)
DECALS = Telescope(
    seeing=SEEING_ARCSEC,
    depth={
        band: depth_of(NOISE_PER_ARCSEC[band] * PIXEL, fwhm, 3.0, PIXEL)
        for band, fwhm in SEEING_ARCSEC.items()
    },
)

Planes = npt.NDArray[np.float32]


def moved(truth: pa.Table, times: float) -> pa.Table:
    """The same galaxies, so many times as far away."""
    for name in LENGTHS:
        index = truth.schema.get_field_index(name)
        truth = truth.set_column(index, truth.field(index), pc.divide(truth[name], times))
    index = truth.schema.get_field_index("mag_r")
    fainter = pc.add(truth["mag_r"], 5 * float(np.log10(times)))
    return truth.set_column(index, truth.field(index), fainter)


def photograph(truth: pa.Table, side: int, seed: int = 1, noise: bool = True) -> list[Planes]:
    """Planes of each galaxy as the simulator draws it."""
    places = zip(truth["ra"].to_pylist(), truth["dec"].to_pylist(), strict=True)
    return [
        render(truth, ra, dec, PIXEL, side, BANDS, seed=seed, noise=noise) for ra, dec in places
    ]


def write_cutouts(path: Path, truth: pa.Table, skies: Iterable[Planes]) -> None:
    """Write the cutouts of a survey, as `fetch` does."""
    places = truth.select(["object_id", "ra", "dec"]).to_pylist()
    with open_product(path, CUTOUTS, Origin("fetch")) as writer:
        for row, planes in zip(places, skies, strict=True):
            header = tangent_grid(row["ra"], row["dec"], PIXEL, SIDE, SIDE).to_header()
            payload = CutoutForm(header, BANDS).write(planes)
            kept = {**row, "status": "ok", "reason": "", "payload": payload}
            kept["fetched_at"] = datetime.now(UTC)
            writer.write(pa.Table.from_pylist([kept], CUTOUTS))


def shown(path: Path, truth: pa.Table, times: float) -> list[Planes]:
    """Planes of each galaxy as the service shows it farther away."""
    settings = ObservedSettings(survey="near", source=DECALS, cutouts=path, farther=times)
    names = truth["object_id"].to_pylist()
    found = []
    for cutout in ObservedService(settings).fetch(
        Target(name, 150, 2, PIXEL, SIDE) for name in names
    ):
        if cutout.payload is None:
            raise SystemExit(f"{cutout.target.object_id}: {cutout.reason}")
        found.append(np.stack(list(read_fits(cutout.payload).planes.values())))
    return found


def binned(planes: Planes, times: int, rng: np.random.Generator) -> Planes:
    """What is often done: pixels binned, and the noise of the sky added once more."""
    side = planes.shape[1] // times
    cut = planes[:, : side * times, : side * times]
    small = cut.reshape(len(cut), side, times, side, times).sum(axis=(2, 4)) / times**2
    sigma = np.array([NOISE_PER_ARCSEC[band] * PIXEL for band in BANDS])[:, None, None]
    return (small + sigma * rng.standard_normal(small.shape)).astype(np.float32)


def files_of(skies: list[Planes]) -> list[bytes]:
    """Draw the images."""
    settings = DecalsSettings(size=skies[0].shape[1], format="png")
    files = []
    for planes in skies:
        header = tangent_grid(150, 2, PIXEL, *planes.shape[:0:-1]).to_header()
        payload = CutoutForm(header, BANDS).write(planes)
        row = image_row({"object_id": "x", "status": "ok", "payload": payload}, "decals", settings)
        files.append(row["image"]["bytes"])
    return files


def tell_apart(one: list[bytes], other: list[bytes], ids: list[str], side: int) -> list[float]:
    """AUC of a classifier on hand features and on features of a network."""
    import torch

    from galaxymill.domains.classifier import auc_of
    from galaxymill.domains.hand import hand_features
    from galaxymill.domains.side import Measured
    from galaxymill.images.pixels import central_pixels, to_pixels
    from galaxymill.models.initial import initial_network
    from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, TrainSettings
    from galaxymill.tasks import NoTask

    settings = TrainSettings(encoder=PACKAGE_ENCODER, weights=PACKAGE, image_size=128)
    network = initial_network(settings, NoTask()).eval()
    hand, frozen = [], []
    for files in (one, other):
        rows = [hand_features(central_pixels(file, side, side)) for file in files]
        hand.append(Measured(ids, np.array([list(row.values()) for row in rows])))
        pixels = torch.from_numpy(np.stack([to_pixels(file, 128) for file in files]))
        with torch.inference_mode():
            values = torch.cat([network.features(some) for some in pixels.split(40)]).numpy()
        frozen.append(Measured(ids, values.astype(np.float64)))
    return [float(auc_of(*hand, forest=True)["auc"]), float(auc_of(*frozen, forest=False)["auc"])]


def measured(skies: list[Planes]) -> tuple[npt.NDArray, npt.NDArray]:
    """Noise and correlation of neighbours by band: medians over the galaxies."""
    found = []
    for planes in skies:
        each = [measure_sky(plane) for plane in planes]
        if all(each):
            found.append(
                [(s.sigma, s.covariance[REACH, REACH + 1] / s.sigma**2) for s in each if s]
            )
    middle = np.median(found, axis=0)
    return middle[:, 0], middle[:, 1]


def indistinguishable(path: Path, truth: pa.Table, near: list[Planes]) -> None:
    """Compare with what is drawn there; every factor of distance by itself."""
    ids = truth["object_id"].to_pylist()
    rng = np.random.default_rng(3)
    for times in (2.0,) if SHORT else (1.5, 2.0, 3.0):
        found = shown(path, truth, times)
        side = found[0].shape[1]
        far = moved(truth, times)
        expected = photograph(far, side, seed=2)
        label = f"x{times:g}"
        hand, frozen = tell_apart(files_of(found), files_of(expected), ids, side)
        figure(f"auc_hand_{label}", hand, "AUC", at_most=0.55)
        figure(f"auc_frozen_{label}", frozen, "AUC", at_most=0.55)
        clean = photograph(far, side, noise=False)
        flux = [np.sum([p.sum((1, 2)) for p in skies], axis=0) for skies in (found, clean)]
        figure(f"flux_off_{label}", 100 * np.abs(flux[0] / flux[1] - 1).max(), "%", at_most=0.5)
        (sigma, lag), (own, theirs) = measured(found), measured(expected)
        figure(f"sky_off_{label}", 100 * np.abs(sigma / own - 1).max(), "%", at_most=2)
        figure(f"lag1_off_{label}", np.abs(lag - theirs).max(), "-", at_most=0.05)
        if times == 2:
            naive = [binned(planes, 2, rng)[:, :side, :side] for planes in near]
            hand, frozen = tell_apart(files_of(naive), files_of(expected), ids, side)
            figure(f"auc_hand_{label}_binned", hand, "AUC")
            figure(f"auc_frozen_{label}_binned", frozen, "AUC")


def cost(path: Path, out: Path) -> None:
    """Draw all of a partition's galaxies twice as far away in a process of its own."""
    seconds, megabytes = apart(draw_all, path, out)
    figure("draw_seconds", seconds, "CPU_s", at_most=60)
    figure("draw_memory", megabytes, "MB", at_most=600)


def draw_all(path: Path, out: Path) -> tuple[float, float]:
    """CPU seconds and peak memory (MB) of a job that shows a partition twice as far away."""
    schema = pa.schema([("object_id", pa.string()), ("ra", pa.float64()), ("dec", pa.float64())])
    tile = out.with_name("tile.parquet")
    rows = pq.read_table(path, columns=schema.names).cast(schema)
    write_product(tile, rows, Origin("partition"), schema)
    settings = ObservedSettings(survey="near", source=DECALS, cutouts=path, farther=2)
    start = time.process_time()
    fetch(tile, out, "observed", settings, Network())
    seconds = time.process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def mergers() -> None:
    """Simulated mergers as DECaLS would take them: light, nuclei, depth."""
    flux, apart_pixels, boxes = [], [], []
    for path in sorted((DATA / "realsim").glob("*.fits")):
        band = path.name.split("_")[1]
        with fits.open(path) as file:
            surface, header = file[0].data, file[0].header
        kpc = Planck18.arcsec_per_kpc_proper(header["REDSHIFT"]).value
        lit = np.where(np.isfinite(surface) & (surface < 60), surface, np.inf)
        total = (10 ** (0.4 * (22.5 - lit)) * (header["CDELT1"] / 1000 * kpc) ** 2).sum()
        clean, seen = (as_taken(path, band, depth) for depth in (35.0, 23.9))
        flux.append(abs(seen.sum() / total - 1))
        for nucleus in "12":
            place = np.array([header[f"YBH{nucleus}"], header[f"XBH{nucleus}"]])
            at = place * kpc / PIXEL + (len(clean) - 1) / 2
            if (at > 6).all() and (at < len(clean) - 7).all():
                low = np.round(at).astype(int) - 3
                box = clean[low[0] : low[0] + 7, low[1] : low[1] + 7]
                peak = center_of_mass(np.where(box > 0.7 * box.max(), box, 0))
                apart_pixels.append(np.hypot(*(low + peak - at)))
        width = round(10 / PIXEL)
        many = len(seen) // width
        noise = (seen - clean)[: many * width, : many * width]
        boxes += list(noise.reshape(many, width, many, width).sum(axis=(1, 3)).flat)
    area = (width * PIXEL) ** 2
    found = 22.5 - 2.5 * np.log10(3 * np.std(boxes) / area)
    asked = 22.5 - 2.5 * np.log10(3 * sky_sigma(23.9, 1.2, 3.0, PIXEL) * width / area)
    figure("mergers_flux_off", 100 * max(flux), "%", at_most=1)
    figure("mergers_nuclei_off", max(apart_pixels), "pixels", at_most=0.5)
    figure("mergers_depth_off", abs(found - asked), "mag", at_most=0.1)


def as_taken(path: Path, band: str, depth: float) -> npt.NDArray[np.float64]:
    """A simulated image through the telescope."""
    settings = SyntheticSettings(
        into="decals",
        unit="mag/arcsec2",
        redshift=0.046,
        folder=str(path.parent),
        bands=(band,),
        pixel_scale=PIXEL,
        target=Telescope(seeing={band: 1.2}, depth={band: depth}),
    )
    target = Target(path.stem, 150, 2, PIXEL, 0, path.name)
    (cutout,) = SyntheticService(settings).fetch([target])
    return read_fits(cutout.payload or b"").planes[band].astype(np.float64)


def real_galaxies() -> None:
    """Real cutouts of the Legacy Surveys twice as far away: light and noise."""
    flux, sky, lag = [], [], []
    with TemporaryDirectory() as name:
        for path in sorted((DATA / "legacy_grz_fits").glob("*.fits")):
            try:
                near = read_fits(path.read_bytes())
            except PayloadError as error:
                print(f"# {path.name}: {error}")
                continue
            whole = {b: p for b, p in near.planes.items() if np.isfinite(p).all() and np.ptp(p)}
            cutouts = Path(name, f"{path.stem}.parquet")
            row = {"object_id": "x", "status": "ok", "reason": "", "payload": path.read_bytes()}
            write_product(cutouts, pa.Table.from_pylist([row], CUTOUTS), Origin("fetch"), CUTOUTS)
            settings = ObservedSettings(survey="near", source=DECALS, cutouts=cutouts, farther=2)
            (cutout,) = ObservedService(settings).fetch([Target("x", 150, 2, PIXEL, 0)])
            if cutout.payload is None:
                print(f"# {path.name}: {cutout.reason}")
                continue
            far = read_fits(cutout.payload).planes
            for band, plane in whole.items():
                own, other = measure_sky(plane), measure_sky(far[band])
                if own and other:
                    flux.append((plane.sum(), 4 * far[band].sum()))
                    sky.append(other.sigma / own.sigma - 1)
                    rows = [one.covariance[REACH, REACH + 1] / one.sigma**2 for one in (own, other)]
                    lag.append(rows[1] - rows[0])
    figure("legacy_planes", len(flux), "planes")
    near_sum, far_sum = np.sum(flux, axis=0)
    figure("legacy_flux_off", 100 * abs(far_sum / near_sum - 1), "%", at_most=0.5)
    figure("legacy_sky_off", 100 * abs(float(np.median(sky))), "%", at_most=2)
    figure("legacy_lag1_off", abs(float(np.median(lag))), "-", at_most=0.05)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=24 if SHORT else 400)
    chosen = parser.parse_args()
    truth = simulate_sky(chosen.galaxies, seed=11)
    near = photograph(truth, SIDE)
    with TemporaryDirectory() as name:
        path = Path(name, "near.parquet")
        write_cutouts(path, truth, near)
        cost(path, Path(name, "far.parquet"))
        indistinguishable(path, truth, near)
    if DATA.is_dir():
        mergers()
        real_galaxies()
    else:
        print("# no real data beside the checkout: mergers and real galaxies are not shown")


if __name__ == "__main__":
    main()
