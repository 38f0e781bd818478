"""Images a second that Zoobot trains on, from JPEG files to steps of its optimiser; as JSON.

Run with the Python of ``zoobot.sh``.
"""

import json
import time
from pathlib import Path

import lightning
import pandas as pd
import timm
from zoobot_recipe import make_data, make_model, make_schema, parser, read_catalog, start


class Clock(lightning.Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def main() -> None:
    """Measure."""
    options = parser(__doc__)
    options.add_argument("--train", type=Path, required=True, help="table of the galaxies")
    options.add_argument("--encoder", required=True, help="a timm architecture")
    options.add_argument("--steps", type=int, default=6, help="that are timed")
    options.add_argument("--warm-up", type=int, default=2, help="steps before")
    options.add_argument("--precision", default="32-true", help="as Lightning names it")
    chosen = options.parse_args()
    start(chosen)
    catalog = read_catalog(chosen.train, chosen.images)
    schema = make_schema(chosen.tree, catalog)
    steps = chosen.warm_up + chosen.steps
    # One long epoch: at the start of an epoch its loaders keep the network waiting. More galaxies
    # than are timed, so that the loaders are as busy at the end as they are in a long training.
    repeats = -(-2 * steps * chosen.batch // len(catalog))
    catalog = pd.concat([catalog] * repeats, ignore_index=True)
    data = make_data(schema, chosen, train_catalog=catalog, val_catalog=catalog)
    clock = Clock()
    trainer = lightning.Trainer(
        max_steps=steps,
        precision=chosen.precision,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    encoder = timm.create_model(chosen.encoder, num_classes=0)
    trainer.fit(make_model(encoder, schema), data)
    seconds = clock.times[-1] - clock.times[chosen.warm_up - 1]
    rate = chosen.steps * chosen.batch / seconds
    print(json.dumps({"images_per_second": rate}))


if __name__ == "__main__":
    main()
