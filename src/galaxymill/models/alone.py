"""An encoder alone as a model: it learns nothing here, and its predictions are embeddings."""

from pathlib import Path

from galaxymill.models.settings import LoneEncoderSettings, TrainSettings
from galaxymill.models.store import MODEL_FILE, ModelCard, read_card, write_model, write_weights
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.origin import Origin
from galaxymill.tasks import NoTask


def take_encoder(out: Path, settings: LoneEncoderSettings) -> None:
    """Write an encoder and its weights as a model; ``out`` is ``model.yaml``.

    It has seen no labelled image, so it has no domain, and serves any survey. Raises UserError when
    the weights cannot be had, or are those of another encoder.
    """
    from galaxymill.models.initial import initial_network

    source = settings.weights_file
    inputs = {"weights": read_card(source).digest} if source else {}
    origin = Origin("train", settings.product_settings(), inputs).to_dict()
    chosen = TrainSettings(**settings.model_dump(), dropout=0.0)
    with exclusive(out) as waited:
        if waited and out.is_file() and read_card(out).origin == origin:
            return
        network = initial_network(chosen, NoTask())
        with atomic_tree(out.parent, MODEL_FILE) as folder:
            digest = write_weights(folder, [network])
            card = ModelCard(NoTask(), chosen, network.card.to_dict(), digest, origin, {})
            write_model(folder, card)
