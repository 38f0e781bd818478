"""Images from outside a survey: drawn, predicted and projected as the survey's own are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galaxymill import flags
from galaxymill.decoding.decode import is_fits
from galaxymill.errors import UserError
from galaxymill.images.recipes import settings_of
from galaxymill.images.render import image_row
from galaxymill.images.settings import PassthroughSettings, RecipeSettings
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import is_probe, read_card
from galaxymill.spaces.space import Halves, Space
from galaxymill.storage.origin import read_record
from galaxymill.surveys.base import Target
from galaxymill.surveys.services.files import FilesService, FilesSettings


def image_features(
    images: Sequence[Path], prediction: Path, model: Path | None, models: Path, space: Space
) -> Halves:
    """Give images features of the space, by the model and settings of the space's prediction.

    Parameters
    ----------
    images : sequence of Path
        JPEG, PNG or WebP files, or FITS cutouts with the bands of the survey's recipe.
    prediction : Path
        One partition's predictions: its footer says how images are drawn and predicted.
    model : Path or None
        ``model.yaml``; None to look for it among the ``models``, a folder of a folder each.

    Returns
    -------
    ndarray of float16, shape (n, components)

    Raises
    ------
    UserError
        When a file is no fit image, or the model is not that of the space.
    """
    from galaxymill.inference.predictor import Predictor

    origin = read_record(prediction, "predict").origin
    settings = PredictSettings.model_validate(origin["parameters"])
    unfit = flags.unfit_bits(settings.unfit)
    drawn = [_drawn(path, origin["domain"], unfit) for path in images]
    predictor = Predictor.load(_model(model, models, origin["inputs"]["model"]), settings)
    _, embeddings = predictor.predict([path.name for path in images], drawn)
    # As they are stored.
    features, good = space.features(embeddings.astype(np.float16))
    if not good.all():
        raise UserError(f"{images[int(np.argmin(good))]}: has no features (no_features)")
    return features


def _model(given: Path | None, models: Path, digest: str) -> Path:
    """The model of this digest: the one that is given, or one of a folder's."""
    if given is not None:
        found = read_card(given).digest
        if found != digest:
            raise UserError(f"{given}: is model {found}, but the space is of model {digest}")
        return given
    for path in sorted(models.glob("*/model.yaml")):
        if not is_probe(path) and read_card(path).digest == digest:
            return path
    raise UserError(f"{models}: holds no model {digest}, which the space is of; name it by --model")


def _drawn(path: Path, domain: Mapping[str, Any], unfit: int) -> bytes:
    """Draw an image as the survey's are, but without the loss of another JPEG."""
    settings = settings_of(domain)
    lossless = {"size": settings.size, "shape": settings.shape, "format": "png"}
    service = FilesService(_service_settings(path, settings))
    (cutout,) = service.fetch([Target(path.name, 0.0, 0.0, 0.0, 0, path.name)])
    if cutout.payload and is_fits(cutout.payload):
        recipe, chosen = domain["recipe"], settings.model_copy(update=lossless)
    else:
        recipe, chosen = "passthrough", PassthroughSettings.model_validate(lossless)
    plain = {name: getattr(cutout, name) for name in ("status", "reason", "payload")}
    row = image_row({"object_id": path.name, **plain}, recipe, chosen)
    bad = row["flags"] & unfit
    if bad or "image" not in row:
        why = ", ".join(filter(None, [*flags.names(bad), row["reason"]]))
        raise UserError(f"{path}: no image that a galaxy can be found by ({why})")
    picture: bytes = row["image"]["bytes"]
    return picture


def _service_settings(path: Path, settings: RecipeSettings) -> FilesSettings:
    """Where a file lies, and the bands that the recipe draws."""
    bands = settings.drawn_bands()
    named = {"bands": bands} if bands else {}
    return FilesSettings.model_validate({"folder": str(path.parent), **named})
