"""What MLflow's page of a sweep says of itself, in Markdown."""

GUIDE = """\
A run is a trial: two networks A and B, and the straight line from A to B in the space of weights.

- `test_loss_chord` is the LMC barrier of the test loss, in nats; 0 means linearly connected. A and
  B are as trained; in `test_loss_chord_corrected` they are corrected as the networks between them
  are, and `test_loss_floor` is the larger barrier of A and of B with itself.
- `llfc_error_mean` is the LLFC error at the midpoint, averaged over layers (their features after
  each activation function or residual block; not the logits), A and B corrected as the blend is;
  compare it with `llfc_baseline_mean`.
- The barrier against width: chart view (beside the search), Add chart, Scatter chart, x `width`,
  y `test_loss_chord`. The eye above the runs shows all of them, not the first ten alone.
- A run's charts: `curve/...` has a step a position on the line, the first A and the last B;
  `layer/...`, `additivity/...`, `commutativity/...` and `norms/...` have a step a layer.
- A run's artifacts: `figures/`, `tables/` and `connection.json`, with everything that was found.
- The run *report of {sweep}* holds the answer to the question among its artifacts: a page, and its
  figures and tables as files.
"""
