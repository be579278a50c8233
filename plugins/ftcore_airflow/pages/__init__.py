"""The pages inside Airflow: models, candidates beside champions, examples, reports and the ledger.

``access`` asks Airflow who may see what, ``app`` has the routes, the other files make from what ``ftcore`` keeps plain
values that the templates show. Everything is read; decisions are taken where Airflow asks for them.
"""
