"""Every Parquet product's Arrow schema: names, types, units and descriptions, once."""

import json
from collections.abc import Iterable

import pyarrow as pa

from galaxymill.splits import SPLITS
from galaxymill.storage.columns import field
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import Tree

CUTOUT_STATUSES = ("ok", "partial", "no_coverage", "invalid", "failed")

RELEASED = {
    pa.bool_(): ("boolean", "L"),
    pa.uint8(): ("unsignedByte", "I"),
    pa.int8(): ("short", "I"),
    pa.int16(): ("short", "I"),
    pa.uint16(): ("int", "J"),
    pa.int32(): ("int", "J"),
    pa.uint32(): ("long", "K"),
    pa.int64(): ("long", "K"),
    pa.float32(): ("float", "E"),
    pa.float64(): ("double", "D"),
    pa.string(): ("char", "A"),
    pa.large_string(): ("char", "A"),
}
"""Types that all tables of a release have → what a VOTable and a FITS table call them."""


def datasets_schema(schema: pa.Schema) -> pa.Schema:
    """Note in a schema which column holds images, for Hugging Face's ``datasets``."""
    features: dict[str, dict[str, str]] = {
        column.name: {"_type": "Image"}
        if pa.types.is_struct(column.type)
        else {"_type": "Value", "dtype": str(column.type).replace("float", "float32", 1)}
        for column in schema
    }
    note = json.dumps({"info": {"features": features}})
    return schema.with_metadata({"huggingface": note})


OBJECT_ID = field("object_id", pa.string(), "identifier of the galaxy, unique in its survey")
RA = field("ra", pa.float64(), "right ascension (ICRS)", "deg")
DEC = field("dec", pa.float64(), "declination (ICRS)", "deg")
HEALPIX_29 = field("_healpix_29", pa.int64(), "HEALPix pixel at order 29, nested")
FLAGS = field("flags", pa.int32(), "quality bits, listed in the README of a release")

OPTIONAL_OBJECT_COLUMNS = {
    "petro_r50": field("petro_r50", pa.float64(), "radius of half the Petrosian flux", "arcsec"),
    "petro_r90": field("petro_r90", pa.float64(), "radius of 90 % of Petrosian flux", "arcsec"),
    "own_redshift": field("own_redshift", pa.float64(), "redshift of the galaxy"),
    "file_loc": field("file_loc", pa.string(), "path of the galaxy's image on disk"),
}


def objects(optional: Iterable[str] = (), kept: Iterable[pa.Field] = ()) -> pa.Schema:
    """Schema of a survey's catalogue; its tiles have all but the kept columns.

    ``optional`` are names of ``OPTIONAL_OBJECT_COLUMNS``.
    """
    chosen = [OPTIONAL_OBJECT_COLUMNS[name] for name in optional]
    return pa.schema([OBJECT_ID, RA, DEC, HEALPIX_29, *chosen, *kept])


_PAYLOAD = "the bytes as served, null when there are none"
CUTOUTS = pa.schema(
    [
        OBJECT_ID,
        RA,
        DEC,
        field("status", pa.string(), f"one of {', '.join(CUTOUT_STATUSES)}"),
        field("http_status", pa.int16(), "last HTTP status, null when none was received"),
        field("reason", pa.string(), "why the status is not ok, empty otherwise"),
        field("payload", pa.binary(), _PAYLOAD, volatile=True),
        field("sha256", pa.string(), "sha256 of the payload"),
        field("fetched_at", pa.timestamp("ms", tz="UTC"), "when the answer came", volatile=True),
        field("url", pa.string(), "what was asked, without server or secrets"),
        field("pixel_scale", pa.float64(), "pixel scale asked for, null: any", "arcsec/pixel"),
        field("size", pa.int32(), "width and height asked for, null: any", "pixel"),
    ]
)

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_PEAK_SNR = "signal-to-noise ratio of the brightest 3×3 pixels in the middle, in the best band"
_CENTRE_OFFSET = "distance of the galaxy's catalogued position from the image's middle"
_ROTATION = "angle in the image from up to north, counter-clockwise (towards east)"
IMAGE_QUALITY = (
    field("bad_pixel_fraction", pa.float32(), "zero or not finite pixels in the worst band"),
    field("saturated_fraction", pa.float32(), "white pixels of the image"),
    field("peak_snr", pa.float32(), _PEAK_SNR),
    field("centre_offset", pa.float32(), _CENTRE_OFFSET, "arcsec"),
    field("rotation", pa.float32(), _ROTATION, "deg"),
)
"""What is measured on an image; null where it cannot be, as in a picture without a position."""

IMAGES = datasets_schema(
    pa.schema(
        [
            OBJECT_ID,
            field(
                "image", _IMAGE, "the image as a JPEG, PNG or WebP file, null when there is none"
            ),
            FLAGS,
            field("reason", pa.string(), "why there is no image, and what its flags say"),
            *IMAGE_QUALITY,
        ]
    )
)


def votes(task: Task, with_positions: bool) -> pa.Schema:
    """Schema of labels: the task's columns, the split, and maybe ``ra`` and ``dec``, or null."""
    positions = [RA, DEC] if with_positions else []
    split = field("split", pa.string(), f"one of {', '.join(SPLITS)}")
    return pa.schema([OBJECT_ID, *positions, *task.label_fields(), split])


def label_sources(task: Task) -> pa.Schema:
    """Schema of the labels in each file, before any check."""
    file = field("file", pa.string(), "the file, as named in the config")
    return pa.schema([OBJECT_ID, file, *task.label_fields()])


ANSWERS = pa.schema(
    [
        OBJECT_ID,
        field("volunteer", pa.string(), "pseudonym of who answered: a keyed hash"),
        field("question", pa.string(), "question of the tree"),
        field("answer", pa.string(), "what was answered"),
        field("when", pa.timestamp("s", tz="UTC"), "when the answer was given, null: unknown"),
    ]
)


def individual(tree: Tree, with_positions: bool) -> pa.Schema:
    """Schema of labels by individuals: effective votes in the columns of votes, and fractions."""
    fields = []
    for question in tree.questions:
        for column, answer in question.column_answers:
            what = f"of careful volunteers who would answer {answer!r} to {question.name}"
            fields += [
                field(column, pa.float32(), f"effective number {what}; of a class: probability"),
                field(f"{column}_fraction", pa.float32(), f"fraction {what}; null: not asked"),
                field(f"{column}_std", pa.float32(), "standard deviation of that fraction"),
            ]
        votes = f"effective votes on {question.name}; null: not asked"
        fields.append(field(f"{question.name}_effective-votes", pa.float32(), votes))
    positions = [RA, DEC] if with_positions else []
    split = field("split", pa.string(), f"one of {', '.join(SPLITS)}")
    return pa.schema([OBJECT_ID, *positions, *fields, split])


_LOG_ODDS = "log odds with which the volunteer prefers the answer, beyond a typical volunteer's"
VOLUNTEERS = pa.schema(
    [
        field("volunteer", pa.string(), "pseudonym: a keyed hash"),
        field("question", pa.string(), "question of the tree"),
        field("answer", pa.string(), "one of its answers"),
        field("n", pa.int32(), "answers of the volunteer to the question"),
        field("given", pa.int32(), "how many of them were this one"),
        field("bias", pa.float32(), _LOG_ODDS),
        field("bias_error", pa.float32(), "standard deviation of the bias"),
        field("skill", pa.float32(), "1: a typical volunteer's; of classes: share that is right"),
        field("skill_error", pa.float32(), "standard deviation of the skill"),
        field("careless", pa.float32(), "probability that answers do not depend on the galaxy"),
        field("careless_error", pa.float32(), "standard deviation of being careless or not"),
        field("component", pa.int32(), "group of volunteers with common galaxies; 0: the largest"),
    ]
)


def predictions(task: Task, draws: int) -> pa.Schema:
    """Schema of predictions with ``draws`` samples kept; nulls where the image is unfit."""
    samples = [task.sample_field(draws)] if draws else []
    return pa.schema([OBJECT_ID, FLAGS, *samples, *task.summary_fields()])


SUBJECTS = pa.schema(
    [
        OBJECT_ID,
        field("stratum", pa.string(), "the rule that chose the galaxy, or random"),
        field("score", pa.float64(), "what the rule thinks of it, null at random"),
        field(
            "selection_probability",
            pa.float64(),
            "probability to be chosen, at random or by any rule: its inverse is a weight",
        ),
        field("round", pa.int32(), "number of the round, from 1"),
        field("ra", pa.float64(), "right ascension where labels have positions", "deg"),
        field("dec", pa.float64(), "declination where labels have positions", "deg"),
    ]
)

POOLING = {"member": 1, "views": "model", "pool": "mean"}
"""Settings of a prediction that its embeddings depend on, beside the model, with their defaults."""


def embeddings(dimension: int, encoder: str = "encoder") -> pa.Schema:
    """Schema of embeddings: an encoder's pooled features; nulls where the image is unfit.

    No number of a list is null: such lists are read a third faster.
    """
    features = pa.list_(pa.field("element", pa.float16(), nullable=False), dimension)
    return pa.schema([OBJECT_ID, field("embedding", features, f"pooled features of {encoder}")])


def map_columns(name: str) -> tuple[str, str]:
    """Columns of a galaxy's place on a map."""
    return f"map_{name}_x", f"map_{name}_y"


def features(components: int, maps: Iterable[str]) -> pa.Schema:
    """Schema of features, and of places on maps; nulls where there is no embedding.

    Features are stored as their bytes: lists of numbers take five times as long to read.
    """
    numbers = f"principal components of the embedding, {components} float16, little-endian"
    places = [
        field(column, pa.float32(), f"{axis} on map {name}, in 0 to 1")
        for name in maps
        for axis, column in zip(("across", "up"), map_columns(name), strict=True)
    ]
    return pa.schema(
        [OBJECT_ID, FLAGS, field("features", pa.binary(2 * components), numbers), *places]
    )


def interest_columns(name: str) -> tuple[str, str, str]:
    """Columns of how interesting galaxies are: the rating that is expected, its standard deviation,
    and how much a galaxy is worth being rated next.
    """
    return f"interest_{name}", f"interest_{name}_std", f"interest_{name}_score"


def interests(name: str) -> pa.Schema:
    """Schema of how interesting galaxies are; nulls where there are no features."""
    meanings = (
        "rating from 0 to 5 that people would give, expected from those they gave",
        "standard deviation of that expectation",
        "worth of being rated next: high where the rating may be",
    )
    numbers = [
        field(column, pa.float32(), meaning)
        for column, meaning in zip(interest_columns(name), meanings, strict=True)
    ]
    return pa.schema([OBJECT_ID, FLAGS, *numbers])


_BESIDE = "copies of galaxies in the boxes beside this combination of knots"
DETECTABILITY = pa.schema(
    [
        field("answer", pa.string(), "answer of the tree"),
        field("size_fwhm", pa.float64(), "half-light radius / FWHM of point sources"),
        field("contrast", pa.float64(), "depth - mean surface brightness in that radius", "mag"),
        field("redshift", pa.float64(), "null where it was not looked at"),
        field("detectable", pa.float64(), "P(seen far | seen near); null where too few were tried"),
        field("low", pa.float64(), "lower end of its 90 % interval"),
        field("high", pa.float64(), "upper end of its 90 % interval"),
        field("made_up", pa.float64(), "P(seen far | not seen near)"),
        field("copies", pa.int32(), _BESIDE),
    ]
)
"""Values at the knots of surfaces; between them they are linear in log size and the others."""


def detectable_column(answer: str) -> str:
    """Column of how much of an answer is still seen."""
    return f"{answer}_detectable"
