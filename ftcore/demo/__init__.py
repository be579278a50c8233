"""``make demo``: turn the whole ring under a real Airflow and print what came of it."""
