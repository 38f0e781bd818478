"""Stage ``simulate``: catalogue, truth and votes of a simulated sky."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.simulation.settings import SimulationSettings
from galaxymill.simulation.sky import catalog, simulate_sky
from galaxymill.simulation.volunteers import vote
from galaxymill.splits import uniform
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.trees.tree import load_tree

logger = logging.getLogger("galaxymill")


def simulate(folder: Path, tree_path: Path, settings: SimulationSettings) -> None:
    """Make a sky, let volunteers look at it, and write its tables.

    Parameters
    ----------
    folder : Path
        Of ``catalog.parquet``, ``truth.parquet`` and ``votes.parquet``.
    tree_path : Path
        Of a tree that `galaxymill.simulation.volunteers.true_fractions` takes.
    """
    tree = load_tree(tree_path)
    origin = Origin("simulate", settings.product_settings(), {"tree": sha256_json(tree.to_dict())})
    with exclusive(folder / "truth.parquet"):
        truth = simulate_sky(settings.n_galaxies, settings.seed)
        votes = vote(truth, tree, settings.seed, settings.votes_per_galaxy)
        ids = truth["object_id"].to_pylist()
        chosen = [uniform(f"labelled:{settings.seed}:{key}") < settings.labelled for key in ids]
        votes = votes.filter(pa.array(chosen))
        tables = {"catalog": catalog(truth), "votes": votes, "truth": truth}
        for name, table in tables.items():
            write_product(folder / f"{name}.parquet", table, origin, table.schema)
    first = tree.questions[0]
    means = {column: pc.mean(votes[column]).as_py() for column in first.columns}
    logger.info("simulate: %d galaxies, %d with votes; %s", len(ids), votes.num_rows, means)
