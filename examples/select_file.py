"""Choose the file of an export that fits a budget, and say why the others do not.

python examples/select_file.py runs/demo
"""

import sys

import feredge

choice = feredge.select(sys.argv[1], max_drop=1.0, max_kb=200)
print(choice.to_dataframe().to_string(index=False))
sys.exit(0 if choice.winner else 1)
