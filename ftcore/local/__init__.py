"""Airflow and MLflow on one machine, for the demo, for tests and for a small team."""
