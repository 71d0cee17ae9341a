"""What several test files share."""

import os

# Before torch, ray and mlflow are imported: small products are slower with more threads than
# cores, and nothing that the tests do is reported to anybody.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def pytest_addoption(parser):
    """`--rewrite`: take the golden trial's numbers of today for right."""
    parser.addoption("--rewrite", action="store_true", help="write tests/golden.json anew")
