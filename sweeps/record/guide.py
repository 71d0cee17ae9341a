"""What MLflow's page of a sweep says of itself, in Markdown."""

from analysis.runs import schema
from analysis.runs.schema import BARRIER, BASELINE, CURVE_SERIES, LAYER_SERIES, LLFC

CORRECTED, FLOOR = f"{BARRIER}_corrected", BARRIER.replace("_chord", "_floor")
GUIDE = f"""\
A run is a trial: two networks A and B, and the straight line from A to B in the space of weights.

- `{BARRIER}` is the LMC barrier of the test loss, in nats; 0 means linearly connected. A and B are
  as trained; in `{CORRECTED}` they are corrected as the networks between them are, and
  `{FLOOR}` is the larger barrier of A and of B with itself.
- `{LLFC}` is the LLFC error at the midpoint, averaged over layers (their features after each
  activation function or residual block; not the logits), A and B corrected as the blend is;
  compare it with `{BASELINE}`.
- The barrier against width: chart view (beside the search), Add chart, Scatter chart, x `width`,
  y `{BARRIER}`. The eye above the runs shows all of them, not the first ten alone.
- A run's charts: `{CURVE_SERIES}/...` has one step per position on the line, the first A and the
  last B; `{LAYER_SERIES}/...`, `additivity/...`, `commutativity/...` and `norms/...` have one step
  per layer.
- A run's artifacts: `{schema.FIGURES}/`, `{schema.TABLES}/` and `{schema.CONNECTION}`, with
  everything that was found.
- The run *{schema.report_name("{sweep}")}* holds the answer to the question among its artifacts:
  a page, and its figures and tables as files.
"""
