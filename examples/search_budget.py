"""Search overnight for the most accurate network within 100 KB and 0.1 ms. Needs feredge[workshop] and feredge[search].
The tests check its calls only: a study takes hours.

    python examples/search_budget.py fer2013.csv studies/pi

The same command goes on with a study that was stopped.
"""

import sys

import feredge

data, out = sys.argv[1:]
study = feredge.search("residual", data, out=out, max_kb=100, max_ms=0.1, hours=8)
print(study.to_dataframe().to_string(index=False))
