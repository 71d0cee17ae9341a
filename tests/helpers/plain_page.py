"""`sweeps/smoke.py` whose page has no sections, which take longer than the sweep; see `done`.

`python -m tests.helpers.plain_page [--two-at-once] OPTIONS`: Tune is given two jobs at a time then.
"""

import runpy
import sys

from analysis.page import report
from sweeps.run import launch

if __name__ == "__main__":
    report.sections_of = lambda findings: []
    if "--two-at-once" in sys.argv:
        sys.argv.remove("--two-at-once")
        launch.AT_ONCE = 2
    runpy.run_path("sweeps/smoke.py", run_name="__main__")
