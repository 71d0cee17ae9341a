"""The description of a sweep on its page in MLflow, in Markdown."""

from analysis.runs import schema
from analysis.runs.schema import BARRIER, BASELINE, CURVE_SERIES, LAYER_SERIES, LLFC

CORRECTED, FLOOR = f"{BARRIER}_corrected", BARRIER.replace("_chord", "_floor")
GUIDE = f"""\
Each run is a trial: two networks A and B, and the straight line from A to B in weight space.

- `{BARRIER}` is the LMC barrier of the test loss, of classes in nats; 0 means linearly
  connected. A and B are as trained; in `{CORRECTED}` they are corrected in the same way as
  the networks between them, and `{FLOOR}` is the larger of the barriers of A with itself and of
  B with itself.
- `{LLFC}` is the LLFC error at the midpoint, averaged over layers (their features after each
  activation function or residual block; not the logits), with A and B corrected in the same way as
  the blend; compare it with `{BASELINE}`.
- To plot the barrier against width: chart view (next to the search), Add chart, Scatter chart,
  x `width`, y `{BARRIER}`. The eye icon above the runs shows all of them, not only the first ten.
- To search: values of parameters are text, as in `params.width = "0.25"`, quotes and all; those of
  metrics are numbers, as in `metrics.{BARRIER} < 0.05`.
- A run's charts: `{CURVE_SERIES}/...` has one step per position on the line, the first A and the
  last B; `{LAYER_SERIES}/...`, `additivity/...`, `commutativity/...` and `norms/...` have one step
  per layer.
- A run's artifacts: `{schema.FIGURES}/`, `{schema.TABLES}/` and `{schema.CONNECTION}`, with
  all results of the trial.
- The run *{schema.report_name("{sweep}")}* has the answer to the question among its artifacts:
  a page, and its figures and tables as files.
"""
