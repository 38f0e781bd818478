"""Write an evaluation: numbers, tables, plots, and one self-contained web page."""

import json
from base64 import b64encode
from pathlib import Path

from galaxymill.reporting.plots import save
from galaxymill.reporting.report import Report
from galaxymill.reporting.tables import write_csv
from galaxymill.reporting.templates import read_templates


def write_report(folder: Path, name: str, report: Report) -> None:
    """Write the metrics under ``name``, the tables, the plots and ``report.html``.

    Parameters
    ----------
    folder : Path
    name : str
        Of the JSON file.
    report : Report
    """
    text = json.dumps(report.metrics, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / name).write_text(text + "\n", encoding="utf-8")
    for section in report.sections:
        for table in section.tables:
            write_csv(folder / f"{table.name}.csv", table.rows)
        for plot in section.plots:
            save(folder, plot)
    # Names are the users': whatever stands in them is text, no markup.
    pages = read_templates("galaxymill.reporting", autoescape=True)
    page = pages.get_template("page.html").render(
        report=report,
        image=lambda plot: b64encode((folder / f"{plot.name}.png").read_bytes()).decode("ascii"),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
