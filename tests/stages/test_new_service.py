"""The service that docs/fetch.md shows works as it stands there."""

import re
import sys
import types

import pyarrow.parquet as pq
from werkzeug import Response

from galaxymill.surveys import registry
from galaxymill.surveys.fetch import fetch
from galaxymill.web.network import Network


def test_the_example_of_the_docs_is_a_service(
    root, httpserver, write_tile, make_fits, tmp_path, monkeypatch
):
    code = re.search(r"```python\n(.*?)```", (root / "docs/fetch.md").read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) <= 40
    module = types.ModuleType("mysky")
    monkeypatch.setitem(sys.modules, "mysky", module)
    exec(compile(code, "mysky.py", "exec"), module.__dict__)
    entry = registry.Entry(module.MySkySettings, module.MySkyService)
    monkeypatch.setitem(registry.SERVICES, "mysky", entry)
    httpserver.expect_request("/cutout", query_string="ra=150.0&dec=2.0&size=32").respond_with_data(
        make_fits(ra=150.0)
    )
    httpserver.expect_request("/cutout").respond_with_response(Response(status=404))
    settings = module.MySkySettings(server=httpserver.url_for(""), size=32)
    tile = write_tile([{"object_id": "here"}, {"object_id": "elsewhere", "ra": 151.0}])
    fetch(tile, tmp_path / "out.parquet", "mysky", settings, Network(requests_per_second=1000))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["status"], row["http_status"]) for row in rows] == [("ok", 200), ("failed", 404)]
