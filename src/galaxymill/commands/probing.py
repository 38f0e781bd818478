"""Models on features: probe, apply."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import Sets, VotesFiles, taking

app = typer.Typer()


@app.command(cls=taking("models.probe_settings:ProbeSettings"))
def probe(
    out: Path,
    votes: VotesFiles,
    features: Annotated[
        Path, typer.Option(help="CSV table of the partitions, column part, beside their features")
    ],
    space: Annotated[Path, typer.Option(help="space.yaml that the features are of")],
    settings: Sets = [],
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is torch's default")] = 0,
) -> None:
    """Fit a probe, a small model on features, to labels; OUT is model.yaml."""
    import torch

    from galaxymill.models.probe_settings import ProbeSettings
    from galaxymill.probes.fit import fit

    if threads:
        torch.set_num_threads(threads)
    fit(votes, features, space, out, ProbeSettings.from_flags(settings, "probe"))


@app.command(cls=taking("inference.settings:PredictSettings"))
def apply(
    features: Annotated[Path, typer.Argument(help="features of one partition")],
    model: Annotated[Path, typer.Option(help="model.yaml of a probe")],
    out: Annotated[Path, typer.Option(help="the predictions")],
    settings: Sets = [],
) -> None:
    """Predict every galaxy of one partition by a probe, from its features."""
    from galaxymill.inference.settings import PredictSettings
    from galaxymill.probes.predict import apply as run

    run(features, model, out, PredictSettings.from_flags(settings, "apply"))
