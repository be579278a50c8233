"""Everything of ftcore that imports Airflow, besides the DAG files."""
