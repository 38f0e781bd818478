"""What people find interesting: rate, fit-interest, rate-partition, report-interest."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.paths import CONFIG

app = typer.Typer()

RatingsFiles = Annotated[
    list[Path], typer.Option(help="table of ratings: object_id, rating, maybe rater; repeatable")
]
SpaceFile = Annotated[Path, typer.Option(help="space.yaml that the features are of")]
InterestFile = Annotated[Path, typer.Option(help="interest.yaml")]


@app.command()
def fit_interest(
    out: Path,
    ratings: RatingsFiles,
    features: Annotated[
        Path, typer.Option(help="CSV table of the partitions, column part, beside their features")
    ],
    space: SpaceFile,
) -> None:
    """Learn from ratings what people find interesting; OUT is interest.yaml, in a folder of the
    interest's name.
    """
    from galaxymill.interest.fit import fit_interest as run

    run(ratings, features, space, out)


@app.command()
def rate_partition(
    features: Annotated[Path, typer.Argument(help="features of one partition")],
    interest: InterestFile,
    out: Annotated[Path, typer.Option(help="the galaxies, with the ratings that are expected")],
) -> None:
    """Say of every galaxy of one partition how interesting it may be, from its features."""
    from galaxymill.interest.rate import rate_partition as run

    run(features, interest, out)


@app.command()
def report_interest(
    out: Path,
    ratings: RatingsFiles,
    interest: InterestFile,
    rated: Annotated[Path, typer.Option(help="folder of what rate-partition made")],
    space: SpaceFile,
) -> None:
    """Show what was found, what each rater likes, and how far they agree; OUT is report.html.

    Features and images are found beside the space, where the workflow made it.
    """
    from galaxymill.interest.report import report_interest as run

    run(ratings, interest, rated, space, out)


@app.command()
def rate(
    name: Annotated[str, typer.Argument(help="an entry of interests: in the config")],
    configfile: Annotated[Path, typer.Option(help="the config")] = CONFIG,
    results: Annotated[Path, typer.Option(help="the workflow's folder")] = Path("results"),
    start: Annotated[
        list[str], typer.Option(help="a galaxy to begin with, by object_id; repeatable")
    ] = [],
    start_from: Annotated[
        Path | None, typer.Option(help="a table of such, as galaxymill similar writes it")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 0,
) -> None:
    """Rate galaxies in the browser; it learns what you find interesting, and shows more of it.

    Prints the address of the page: open it in a browser. It is served to this machine alone, and
    only to whoever has the whole address. Ctrl-C ends it; every rating is in the table by then.
    """
    import os
    from contextlib import suppress

    from galaxymill.config.files import load_config
    from galaxymill.errors import unknown_name
    from galaxymill.interest.page.opened import RateRequest, open_server
    from galaxymill.paths import TREES, fill
    from galaxymill.search.folders import folders_of
    from galaxymill.yaml_file import read_yaml

    config = load_config(read_yaml(configfile, "a config"), str(configfile), TREES)
    if name not in config.interests:
        raise unknown_name(f"{configfile}: interests", name, config.interests, "interest")
    interest = config.interests[name]
    space = fill("<space>/space.yaml", results, space=interest.space)
    rated = fill("<rated>", results, interest=name)
    request = RateRequest(
        name, space, folders_of(space), rated, interest.ratings, start, start_from
    )
    with open_server(request, port) as server, suppress(KeyboardInterrupt):
        # Not opened from here: others can see which addresses programs are started with.
        typer.echo(server.address)
        if "SSH_CONNECTION" in os.environ:
            typer.echo(
                f"from your own machine: ssh -N -L {server.server_port}:localhost:"
                f"{server.server_port} {os.uname().nodename}, then open the same address there"
            )
        server.serve_forever()
