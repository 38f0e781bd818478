"""Let datamapplot draw the places of a table into a page: datamapplot_page.py TABLE PAGE."""

import sys

import datamapplot
import numpy as np
import pyarrow.parquet as pq

table, page = sys.argv[1:]
both = pq.read_table(table, columns=["x", "y"])
places = np.column_stack([both["x"], both["y"]])
datamapplot.create_interactive_plot(places, np.full(len(places), "")).save(page)
