"""The evaluation as one web page that needs nothing but itself."""

import json
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from itertools import count
from pathlib import Path

from galaxymill.reporting.plots import save
from galaxymill.reporting.report import Plot, Report, Section, Table, write_csv

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 75rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2 { line-height: 1.2; font-weight: 600; }
h2 { margin-top: 2.5rem; }
.headline { font-size: 1.2rem; border-left: 4px solid #1f77b4; padding-left: 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
.caption, figcaption, summary, footer { font-size: 0.85rem; color: #5a5f68; }
.caption { margin: 1.5rem 0 0.5rem; }
th, td { padding: 0.25rem 0.45rem; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #e3e5e8; }
th { border-bottom: 2px solid #8a8f98; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tr.whole td { background: #f2f5f8; font-weight: 600; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
details { margin: 1rem 0; }
summary { cursor: pointer; }
footer { margin-top: 3rem; overflow-wrap: anywhere; }
"""


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
    write_page(folder / "report.html", report, folder)


def write_page(path: Path, report: Report, plots: Path) -> None:
    """Write ``report.html``.

    Parameters
    ----------
    path : Path
        The page.
    report : Report
    plots : Path
        Folder of the PNG files; they are put into the page itself.
    """
    title = escape(report.title)
    tables, figures = count(1), count(1)
    body = "".join(_section(section, plots, tables, figures) for section in report.sections)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="headline">{escape(report.headline)}</p>
{body}<footer>{escape(report.footer)}</footer>
</body>
</html>
"""
    path.write_text(page, encoding="utf-8")


def _section(section: Section, plots: Path, tables: Iterator[int], figures: Iterator[int]) -> str:
    paragraphs = "".join(f"<p>{escape(text)}</p>\n" for text in section.text)
    shown = [table for table in section.tables if table.shown != "file" and table.rows]
    return (
        f"<h2>{escape(section.title)}</h2>\n{paragraphs}"
        + "".join(_table(table, next(tables)) for table in shown)
        + "".join(_figure(plot, plots, next(figures)) for plot in section.plots)
    )


def _figure(plot: Plot, folder: Path, place: int) -> str:
    image = b64encode((folder / f"{plot.name}.png").read_bytes()).decode("ascii")
    text = escape(plot.caption)
    return (
        f'<figure><img src="data:image/png;base64,{image}" alt="{text}">'
        f"<figcaption>Figure {place}. {text}</figcaption></figure>\n"
    )


def _table(table: Table, place: int) -> str:
    """Lay out a table; rows that sum up others stand out."""
    lines = ["<tr>" + "".join(f"<th>{escape(title)}</th>" for title in table.columns) + "</tr>"]
    for row in table.rows:
        cells = "".join(f"<td>{escape(cell(row))}</td>" for cell in table.columns.values())
        lines.append(f'<tr class="whole">{cells}</tr>' if table.whole(row) else f"<tr>{cells}</tr>")
    caption = escape(f"Table {place}. {table.caption}")
    laid = '<div class="table"><table>\n' + "\n".join(lines) + "\n</table></div>\n"
    if table.shown == "folded":
        return f"<details><summary>{caption}</summary>\n{laid}</details>\n"
    return f'<p class="caption">{caption}</p>\n{laid}'
