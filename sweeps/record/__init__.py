"""Where results are written: MLflow, figures, and the report at the end."""
