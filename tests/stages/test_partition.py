"""Tiles never change their members: the catalogue may grow, and nothing is fetched twice."""

import csv
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.names import part_names
from galaxymill.catalog.partition import COLUMNS, part_files, partition, read_partitions
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.sky.healpix import HIGHEST_ORDER, Pixel

LIMIT = 60


def draw(start, stop, spread_deg=25.0):
    generator = np.random.default_rng(start)
    n = stop - start
    return pa.table(
        {
            "object_id": [f"g{index:05d}" for index in range(start, stop)],
            "ra": (350 + generator.uniform(-spread_deg, spread_deg, n)) % 360,
            "dec": 10 + generator.uniform(-spread_deg, spread_deg, n),
        }
    )


class Survey:
    """A survey's folder, ingested and partitioned as often as one likes."""

    def __init__(self, root):
        self.source, self.objects = root / "galaxies.parquet", root / "catalog" / "objects.parquet"
        self.table, self.tiles = root / "catalog" / "partitions.csv", root / "catalog" / "tiles"

    def cut(self, galaxies, limit=LIMIT):
        pq.write_table(galaxies, self.source)
        ingest(self.source, self.objects, CatalogSettings())
        partition(self.objects, self.table, limit)
        return read_partitions(self.table)

    def members(self):
        return {
            path.stem: pq.read_table(path)["object_id"].to_pylist()
            for path in sorted(self.tiles.glob("*.parquet"))
        }

    def stamps(self):
        return {path.stem: path.stat().st_mtime_ns for path in self.tiles.iterdir()}


@pytest.fixture
def survey(tmp_path):
    return Survey(tmp_path)


@pytest.fixture
def galaxies():
    return draw(0, 500)


def test_members_add_up(survey, galaxies):
    tiles = survey.cut(galaxies)
    members = survey.members()
    assert sorted(chain(*members.values())) == galaxies["object_id"].to_pylist()
    assert {tile.part: tile.n_rows for tile in tiles} == {k: len(v) for k, v in members.items()}
    assert len(tiles) > 1
    assert max(tile.n_rows for tile in tiles) <= LIMIT
    assert min(tile.n_rows for tile in tiles) > 0


def test_tiles_are_healpix_pixels_in_the_order_of_the_sky(survey, galaxies):
    tiles = survey.cut(galaxies)
    ranges = [Pixel(tile.order, tile.pixel, tile.n_rows).range for tile in tiles]
    assert ranges == sorted(ranges)
    for tile, (low, high) in zip(tiles, ranges, strict=True):
        rows = pq.read_table(survey.tiles / f"{tile.part}.parquet")
        index = rows["_healpix_29"].to_numpy()
        assert ((index >= low) & (index < high)).all()
        assert (np.diff(index) >= 0).all()
        assert tile.part == f"g0-k{tile.order}-p{tile.pixel}"
        assert tile.order <= HIGHEST_ORDER


def test_table_is_read_without_heavy_imports(survey, galaxies):
    tiles = survey.cut(galaxies)
    assert part_names(survey.table) == [tile.part for tile in tiles]
    assert part_files(survey.table, survey.tiles)[0] == survey.tiles / f"{tiles[0].part}.parquet"
    with survey.table.open(newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


def test_a_second_run_is_a_no_op(survey, galaxies):
    survey.cut(galaxies)
    stamps, table = survey.stamps(), survey.table.read_bytes()
    survey.cut(galaxies.take(pa.array(np.random.default_rng(1).permutation(500))))
    assert survey.stamps() == stamps
    assert survey.table.read_bytes() == table


def test_new_galaxies_make_new_tiles_alone(survey, galaxies):
    first = survey.cut(galaxies)
    stamps = survey.stamps()
    tiles = survey.cut(pa.concat_tables([draw(500, 640), galaxies]))
    assert tiles[: len(first)] == first
    assert {tile.generation for tile in tiles[len(first) :]} == {1}
    assert sum(tile.n_rows for tile in tiles[len(first) :]) == 140
    assert stamps.items() <= survey.stamps().items()
    third = survey.cut(pa.concat_tables([galaxies, draw(500, 640), draw(640, 650)]))
    assert third[: len(tiles)] == tiles
    assert {tile.generation for tile in third[len(tiles) :]} == {2}


def test_a_galaxy_that_is_gone_is_refused(survey, galaxies):
    survey.cut(galaxies)
    before = survey.table.read_bytes(), survey.stamps()
    with pytest.raises(UserError, match=r"1 galaxies of g0-.* are gone .* e\.g\. 'g00007'"):
        survey.cut(galaxies.filter(pc.not_equal(galaxies["object_id"], "g00007")))
    assert (survey.table.read_bytes(), survey.stamps()) == before


def test_a_changed_position_rewrites_only_its_tile(survey, galaxies):
    survey.cut(galaxies)
    before, stamps = survey.members(), survey.stamps()
    dec = galaxies["dec"].to_numpy().copy()
    dec[7] += 1e-5
    survey.cut(galaxies.set_column(2, "dec", pa.array(dec)))
    tile = next(name for name, members in before.items() if "g00007" in members)
    after = survey.stamps()
    assert {name for name in stamps if stamps[name] != after[name]} == {tile}
    assert {k: sorted(v) for k, v in survey.members().items()} == {
        k: sorted(v) for k, v in before.items()
    }


def test_tiles_are_known_again_without_the_table(survey, galaxies):
    """A workflow manager removes its outputs before it runs a job again."""
    survey.cut(galaxies)
    grown = pa.concat_tables([galaxies, draw(500, 640)])
    tiles, stamps = survey.cut(grown), survey.stamps()
    survey.table.unlink()
    assert survey.cut(grown) == tiles
    assert survey.stamps() == stamps
    survey.table.unlink()
    assert survey.cut(pa.concat_tables([grown, draw(640, 645)]))[: len(tiles)] == tiles


def test_a_partition_that_was_interrupted_is_finished(survey, galaxies):
    tiles = survey.cut(galaxies)
    survey.table.unlink()
    (survey.tiles / f"{tiles[-1].part}.parquet").unlink()
    again = survey.cut(galaxies)
    assert sum(tile.n_rows for tile in again) == 500
    assert sorted(chain(*survey.members().values())) == galaxies["object_id"].to_pylist()


def test_another_limit_leaves_the_tiles_that_are(survey, galaxies):
    tiles = survey.cut(galaxies)
    assert survey.cut(galaxies, limit=10) == tiles


def test_too_dense_a_field_is_refused(survey):
    crowd = draw(0, 30, spread_deg=1e-4)
    with pytest.raises(UserError, match=r"galaxies_per_partition: 5 is less than the 30 galaxies"):
        survey.cut(crowd, limit=5)
    assert not survey.table.exists()
    assert survey.cut(crowd, limit=30)[0].n_rows == 30


def test_the_whole_catalogue_may_be_one_tile(survey):
    (tile,) = survey.cut(draw(0, 10, spread_deg=0.1), limit=4000)
    assert (tile.order, tile.n_rows) == (0, 10)


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "partitions.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"columns are .*, not part, order, pixel, n_rows"):
        read_partitions(tmp_path / "partitions.csv")


def test_command_line(galaxymill, survey, galaxies):
    survey.cut(galaxies)
    survey.table.unlink()
    words = [survey.objects, survey.table, "--galaxies-per-partition", LIMIT]
    done = galaxymill("partition", *words)
    assert done.returncode == 0, done.stderr
    assert len(read_partitions(survey.table)) == len(survey.members())
    absent = galaxymill("partition", survey.objects.with_name("no.parquet"), survey.table)
    assert absent.returncode == 2
    assert "Traceback" not in absent.stderr
