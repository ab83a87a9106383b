"""Make the scripts of runs/detector and runs/parts importable, as they are for each other."""

import sys
from pathlib import Path

for name in ("detector", "parts"):
    sys.path.insert(0, str(Path(__file__).parents[2] / "runs" / name))
