"""The results: which figures are compared (`rows.py`), whether they meet their targets (`judge.py`), and the record,
table and plots made of them."""
