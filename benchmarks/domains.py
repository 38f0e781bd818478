"""What it costs to carry a model over to another survey, B, that nobody has voted on.

Skies are drawn by the simulator. A model learns from galaxies of survey A (seeing 1.2 arcsec in r,
about the depth of DECaLS) and is judged on others of B (seeing 1.5 times, noise 2.5 times as
large): once of the same population, once of one with fewer discs. It is a ridge on the features of
EfficientNet-lite0, pretrained on ImageNet; what it learns is the share of 40 volunteers who call a
galaxy featured, and it is judged by the true share.

Votes are of the near truth on both sides: what volunteers would say of A's images, also where B's
are predicted.

- source: A's images as they are;
- adabn: batch normalisation by the statistics of each survey (Li+2016);
- standardised: features by the mean and deviation of each survey;
- coral: A's features with the covariance of B's (Sun+2016);
- drawn_once: A's images drawn as B would show them, by the service `observed`;
- drawn: the same four times, each with other noise (`seed`);
- seen: the same galaxies as B's telescope truly sees them: what no drawing can surpass;
- limit: learned from votes on B's own galaxies, the judged ones, by cross-validation;
- limit_as_many: learned from votes on as many other galaxies of B as there are of A.

    make bench-domains
"""

import tempfile
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from astropy.wcs import WCS
from figures import SHORT, figure
from sklearn.linear_model import Ridge, RidgeCV

from galaxymill.domains.classifier import auc_of
from galaxymill.domains.hand import hand_features
from galaxymill.domains.side import Measured
from galaxymill.images.pixels import central_pixels, to_pixels
from galaxymill.images.render import image_row
from galaxymill.images.settings import DecalsSettings
from galaxymill.models.initial import initial_network
from galaxymill.models.network import Network
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, TrainSettings
from galaxymill.products import CUTOUTS
from galaxymill.simulation.galaxies import NOISE_PER_ARCSEC, SEEING_ARCSEC, render
from galaxymill.simulation.sky import KINDS, simulate_sky
from galaxymill.simulation.volunteers import true_fractions, vote
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.surveys.base import Target
from galaxymill.surveys.mosaics.mosaic import CutoutForm
from galaxymill.surveys.observe.optics import depth_of
from galaxymill.surveys.services.observed import ObservedService, ObservedSettings
from galaxymill.surveys.telescope import Telescope
from galaxymill.tasks import NoTask
from galaxymill.trees.tree import load_tree

TREE = load_tree(Path(__file__).resolve().parents[1] / "config" / "trees" / "decals_dr5.yaml")
FEATURED = "smooth-or-featured-dr5_featured-or-disk"
LEARNED, JUDGED, SEEDS = (40, 30, 1) if SHORT else (600, 400, 3)
DRAWS = 2 if SHORT else 4
FOLDS = 10
FEWER_DISCS = KINDS | {"smooth": 0.78, "disc": 0.17}
WIDER, NOISIER = 1.5, 2.5
BANDS, PIXELS, PIXEL_SCALE = "grz", 80, 0.524
IMAGE_SIZE, BATCH = 64 if SHORT else 128, 40
SETTINGS = DecalsSettings(size=PIXELS, format="png")
GOAL = 1.03

Floats = npt.NDArray[np.float64]
Images = list[bytes]


def telescope(wider: float, noisier: float) -> Telescope:
    """Describe the simulator's telescope, with another seeing and another noise."""
    seeing = {band: wider * fwhm for band, fwhm in SEEING_ARCSEC.items()}
    depth = {
        band: depth_of(noisier * NOISE_PER_ARCSEC[band] * PIXEL_SCALE, fwhm, 3.0, PIXEL_SCALE)
        for band, fwhm in seeing.items()
    }
    return Telescope(seeing=seeing, depth=depth)


def photograph(truth: pa.Table, wider: float = 1.0, noisier: float = 1.0) -> list[bytes]:
    """FITS cutout of each galaxy."""
    seeing = {band: wider * fwhm for band, fwhm in SEEING_ARCSEC.items()}
    found = []
    for ra, dec in zip(truth["ra"].to_pylist(), truth["dec"].to_pylist(), strict=True):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra, dec]
        wcs.wcs.crpix = [(PIXELS + 1) / 2] * 2
        wcs.wcs.cdelt = [-PIXEL_SCALE / 3600, PIXEL_SCALE / 3600]
        planes = render(
            truth, ra, dec, PIXEL_SCALE, PIXELS, BANDS, seeing=seeing, noise_scale=noisier
        )
        found.append(CutoutForm(wcs.to_header(), BANDS).write(planes))
    return found


def drawn_as_b(truth: pa.Table, payloads: list[bytes], folder: Path, seed: int = 1) -> list[bytes]:
    """Draw A's cutouts as B would show them, by the service, with noise of this seed."""
    path = folder / "cutouts.parquet"
    now = datetime.now(UTC)
    rows = [
        {**place, "status": "ok", "payload": payload, "fetched_at": now, "reason": ""}
        for place, payload in zip(
            truth.select(["object_id", "ra", "dec"]).to_pylist(), payloads, strict=True
        )
    ]
    write_product(path, pa.Table.from_pylist(rows, CUTOUTS), Origin("fetch"), CUTOUTS)
    target = telescope(WIDER, NOISIER)
    service = ObservedService(
        ObservedSettings(
            survey="a",
            source=telescope(1, 1),
            seeing=target.seeing,
            depth=target.depth,
            seed=seed,
            cutouts=path,
        )
    )
    targets = [Target(row["object_id"], row["ra"], row["dec"], PIXEL_SCALE, PIXELS) for row in rows]
    cutouts = list(service.fetch(targets))
    lost = [f"{one.target.object_id}: {one.reason}" for one in cutouts if one.status != "ok"]
    if lost:
        raise SystemExit(f"{len(lost)} galaxies cannot be shown, as {lost[0]}")
    return [one.payload or b"" for one in cutouts]


def pictures(payloads: list[bytes]) -> Images:
    """Draw the images of cutouts."""
    rows = [
        image_row({"object_id": "x", "status": "ok", "payload": one}, "decals", SETTINGS)
        for one in payloads
    ]
    return [row["image"]["bytes"] for row in rows]


def batches(images: Images) -> list[torch.Tensor]:
    """Pixels as a network takes them, some at a time."""
    pixels = np.stack([to_pixels(image, IMAGE_SIZE) for image in images])
    return list(torch.from_numpy(pixels).split(BATCH))


def features(network: Network, images: Images) -> Floats:
    """Frozen features, shape (n, n_features)."""
    with torch.inference_mode():
        found = [network.features(some) for some in batches(images)]
    return torch.cat(found).numpy().astype(np.float64)


def normalised_by(network: Network, images: Images) -> Network:
    """A network whose batch normalisation has the statistics of these images."""
    adapted = deepcopy(network)
    layers = [one for one in adapted.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        # The mean over all batches.
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for some in batches(images):
            adapted.features(some)
    return adapted.eval()


def coral(source: Floats, target: Floats) -> Floats:
    """Give the source the target's covariance; both with unit added, as features are many."""
    own, other = (np.cov(one.T) + np.eye(one.shape[1]) for one in (source, target))
    return (source - source.mean(0)) @ power(own, -0.5) @ power(other, 0.5) + target.mean(0)


def power(matrix: Floats, exponent: float) -> Floats:
    """Raise a symmetric positive matrix to a power."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def standardised(values: Floats) -> Floats:
    """Values of mean 0 and standard deviation 1."""
    return (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)


def ridge(learned: Floats, shares: Floats, judged: Floats) -> Floats:
    """Predict by a ridge on standardised features; its penalty is chosen by leaving one out.

    Of galaxies drawn several times, one set after the other, the first set chooses.
    """
    mean, width = learned.mean(0), np.maximum(learned.std(0), 1e-9)
    values, draws = (learned - mean) / width, len(learned) // len(shares)
    chosen = RidgeCV(np.logspace(1, 6, 21)).fit(values[: len(shares)], shares)
    model = Ridge(draws * chosen.alpha_).fit(values, np.tile(shares, draws))
    return np.clip(model.predict((judged - mean) / width), 0, 1)


def by_own_votes(values: Floats, shares: Floats) -> Floats:
    """Predict each galaxy by a ridge that has learned from the others."""
    fold, said = np.arange(len(values)) % FOLDS, np.zeros(len(values))
    for one in range(FOLDS):
        said[fold == one] = ridge(values[fold != one], shares[fold != one], values[fold == one])
    return said


@dataclass
class Galaxies:
    """Some galaxies: share of the votes for featured, the true one, and images."""

    truth: pa.Table
    images: Images

    @property
    def voted(self) -> Floats:
        """Share of the volunteers' votes."""
        counts = vote(self.truth, TREE).select(TREE.columns[:3]).to_pandas()
        return (counts[FEATURED] / counts.sum(axis=1)).to_numpy()

    @property
    def true(self) -> Floats:
        """Share that all volunteers would give."""
        return true_fractions(self.truth, TREE)[:, TREE.columns.index(FEATURED)]


def errors(
    network: Network, a: Galaxies, shown: dict[str, Images], b: Galaxies, own: Galaxies
) -> dict[str, float]:
    """RMSE on b's galaxies, by each way to learn.

    ``shown`` are images of a's galaxies as B shows them; ``own`` are other galaxies of b's sky.
    """
    near, far = features(network, a.images), features(network, b.images)
    adapted = [features(normalised_by(network, one.images), one.images) for one in (a, b)]
    pairs: dict[str, tuple[Floats, Floats]] = {
        "source": (near, far),
        "adabn": (adapted[0], adapted[1]),
        "standardised": (standardised(near), standardised(far)),
        "coral": (coral(near, far), far),
        **{name: (features(network, images), far) for name, images in shown.items()},
    }
    said = {name: ridge(learned, a.voted, judged) for name, (learned, judged) in pairs.items()}
    said["limit"] = by_own_votes(far, b.voted)
    said["limit_as_many"] = ridge(features(network, own.images), own.voted, far)
    said["constant"] = np.full(len(far), b.true.mean())
    return {name: float(np.sqrt(np.mean((one - b.true) ** 2))) for name, one in said.items()}


def apart(one: Images, other: Images) -> float:
    """AUC of a classifier on hand features."""
    sides = []
    for name, images in (("a", one), ("b", other)):
        rows = [hand_features(central_pixels(image, PIXELS, PIXELS)) for image in images]
        values = np.array([list(row.values()) for row in rows])
        sides.append(Measured([f"{name}{row}" for row in range(len(rows))], values))
    return float(auc_of(sides[0], sides[1], forest=True)["auc"])


def main() -> None:
    """Measure both populations, as the root of the mean square over skies."""
    torch.manual_seed(0)
    settings = TrainSettings(encoder=PACKAGE_ENCODER, weights=PACKAGE, image_size=IMAGE_SIZE)
    network = initial_network(settings, NoTask()).eval()
    found: dict[str, list[dict]] = {"same": [], "fewer_discs": []}
    told: dict[str, list[float]] = {"source": [], "drawn": []}
    for seed in range(SEEDS):
        truth = simulate_sky(LEARNED, seed=3 * seed + 1)
        payloads = photograph(truth)
        a = Galaxies(truth, pictures(payloads))
        with tempfile.TemporaryDirectory() as folder:
            draws = [
                pictures(drawn_as_b(truth, payloads, Path(folder), number + 1))
                for number in range(DRAWS)
            ]
        drawn = draws[0]
        shown = {"drawn_once": drawn, "drawn": [image for some in draws for image in some]}
        shown |= {"seen": pictures(photograph(truth, WIDER, NOISIER))}
        for place, (name, kinds) in enumerate((("same", KINDS), ("fewer_discs", FEWER_DISCS))):
            sky = simulate_sky(JUDGED + LEARNED, seed=3 * seed + 2 + place, kinds=kinds)
            parts = sky.slice(0, JUDGED), sky.slice(JUDGED)
            b, own = (Galaxies(part, pictures(photograph(part, WIDER, NOISIER))) for part in parts)
            found[name].append(errors(network, a, shown, b, own))
            if name == "same":
                told["source"].append(apart(a.images, b.images))
                told["drawn"].append(apart(drawn, b.images))
    for name, values in told.items():
        figure(f"auc_hand_{name}", float(np.mean(values)), "AUC_against_B")
    for name, rows in found.items():
        rmse = {key: float(np.sqrt(np.mean([row[key] ** 2 for row in rows]))) for key in rows[0]}
        for key, value in rmse.items():
            figure(f"{name}_{key}", value, "RMSE_of_featured")
        for key in ("adabn", "standardised", "coral", "seen"):
            figure(f"{name}_{key}_of_limit", rmse[key] / rmse["limit"], "ratio")
        figure(f"{name}_drawn_of_seen", rmse["drawn"] / rmse["seen"], "ratio")
        figure(f"{name}_drawn_of_as_many", rmse["drawn"] / rmse["limit_as_many"], "ratio")
        figure(f"{name}_drawn_of_limit", rmse["drawn"] / rmse["limit"], "ratio", at_most=GOAL)


if __name__ == "__main__":
    main()
