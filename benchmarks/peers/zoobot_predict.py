"""Zoobot's own prediction of a catalogue, from JPEG files to a CSV, with random weights.

Run with the Python of ``zoobot.sh``. Images are seen through its default view. 64 galaxies a batch
and one process that reads are for few cores; its own defaults are 256 and 4.
"""

from pathlib import Path

import timm
from galaxy_datasets.transforms import get_galaxy_transform, minimal_view_config
from zoobot.pytorch.predictions.predict_on_catalog import predict
from zoobot_recipe import make_model, make_schema, parser, read_catalog, start


def main() -> None:
    """Predict."""
    options = parser(__doc__)
    options.add_argument("--catalog", type=Path, required=True, help="table of the galaxies")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--encoder", required=True, help="a timm architecture")
    options.add_argument("--precision", default="32-true", help="as Lightning names it")
    chosen = options.parse_args()
    start(chosen)
    catalog = read_catalog(chosen.catalog, chosen.images)
    schema = make_schema(chosen.tree, catalog)
    view = minimal_view_config()
    view.output_size = chosen.size
    model = make_model(timm.create_model(chosen.encoder, num_classes=0), schema)
    # Without this it fails on what bfloat16 gives: numpy has no such numbers.
    model.head.register_forward_hook(lambda _, __, concentrations: concentrations.float())
    predict(
        catalog,
        model,
        save_loc=chosen.out,
        label_cols=schema.label_cols,
        inference_transform=get_galaxy_transform(view),
        datamodule_kwargs={"batch_size": chosen.batch, "num_workers": chosen.workers},
        trainer_kwargs={
            "accelerator": "cpu",
            "precision": chosen.precision,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    )


if __name__ == "__main__":
    main()
