"""A survey whose galaxies are rated: where the workflow puts it, with a config that names it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
import yaml
from looked_survey import KINDS, WIDTH, LookedSurvey, kind, seed

from galaxymill.interest.page.opened import RateRequest, open_server
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER
from galaxymill.search.folders import folders_of
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import Space, read_space, write_space


def is_odd(object_id):
    """Whether it is of the kind that somebody looks for."""
    return kind(object_id) == 1


class RatedSurvey(LookedSurvey):
    """Galaxies in a space, an interest in them called odd."""

    def __init__(self, folder):
        self.folder, self.results = folder, folder / "results"
        self.space = self.results / "spaces" / "toy" / "space.yaml"
        self.space.parent.mkdir(parents=True)
        facts = {"survey": "toy_survey", "prediction": "toy"}
        fitted = Space(
            {}, SpaceSettings(), np.zeros(WIDTH), np.eye(WIDTH), np.ones(WIDTH), {}, facts
        )
        write_space(self.space.parent, fitted, {})
        super().__init__(self.results / "surveys" / "toy_survey")
        (folder / "galaxies.csv").write_text("object_id,ra,dec\n")
        config = {
            "surveys": {
                "toy_survey": {
                    "catalog": {"path": str(folder / "galaxies.csv")},
                    "cutouts": {"service": "legacy"},
                    "images": {"recipe": "decals"},
                }
            },
            "models": {"alone": {"encoder": PACKAGE_ENCODER, "weights": PACKAGE}},
            "predictions": {"toy": {"survey": "toy_survey", "model": "alone"}},
            "spaces": {"toy": {"predictions": "toy"}},
            "interests": {"odd": {"space": "toy", "ratings": str(self.ratings)}},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    @staticmethod
    def vector(one):
        """Features of a galaxy: those of a kind lie together."""
        return seed(one).normal(KINDS[kind(one)], 0.8).astype("<f2")

    @property
    def features(self):
        return self.results / "features" / "toy"

    @property
    def ratings(self):
        return self.folder / "ratings.csv"

    def project(self, part, ids, bad):
        super().project(part, ids, bad, read_space(self.space)[1])

    def ids(self):
        """Names of galaxies with features, and of those without."""
        rows = [
            row
            for path in sorted(self.features.iterdir())
            for row in pq.read_table(path, columns=["object_id", "features"]).to_pylist()
        ]
        good = [row["object_id"] for row in rows if row["features"] is not None]
        return good, [row["object_id"] for row in rows if row["features"] is None]

    def request(self, **given):
        rated = self.results / "rated" / "odd"
        given = {"ratings": (self.ratings,), **given}
        return RateRequest("odd", self.space, folders_of(self.space), rated, **given)

    def open(self, **given):
        return open_server(self.request(**given))


class Client:
    """A program that asks as the page does."""

    def __init__(self, address, rater="ann"):
        self.rater, self.parts = rater, urlsplit(address)
        self.line = http.client.HTTPConnection("127.0.0.1", self.parts.port, timeout=30)

    def raw(self, method, path, body=None, **headers):
        self.line.request(method, path, body, headers)
        answer = self.line.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def get(self, name):
        return self.raw("GET", self.parts.path + name)

    def post(self, name, body, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        status, _, data = self.raw("POST", self.parts.path + name, body, **kind | headers)
        return status, json.loads(data)

    def batch(self, is_next=True):
        status, answer = self.post("batch", {"rater": self.rater, "next": is_next})
        assert status == 200, answer
        return answer

    def rate(self, galaxy, rating, note=""):
        click = {"galaxy": galaxy, "rating": rating, "note": note}
        return self.post("rate", {"rater": self.rater, "clicks": [click]})


class Program:
    """``galaxymill rate`` in a process of its own."""

    def __init__(self, survey, *words):
        code = (
            "import os; os.environ['SSH_CONNECTION'] = 'x'; from galaxymill.cli import main; main()"
        )
        where = "--configfile", survey.folder / "config.yaml", "--results", survey.results
        command = [sys.executable, "-c", code, "rate", "odd", *map(str, (*where, *words))]
        # As from afar: no browser is opened.
        afar = {**os.environ, "SSH_CONNECTION": "there"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=afar)
        self.address = self.process.stdout.readline().strip()
        assert self.address, "it ended"

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
