"""The only door to MLflow: runs, registered models, curves and artefacts."""
