"""The answers: what the runs in MLflow say about the study's questions. Nothing is trained here."""
