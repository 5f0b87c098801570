"""The experiments: which servers go through which scenarios (`plan.py`), and the loop that runs them (`run.py`)."""
