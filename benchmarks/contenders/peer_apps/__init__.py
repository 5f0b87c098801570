"""What the peers' processes run with the Python of `.venv-bench`: minimal programs, written as the peers' guides show.

Nothing here imports the rig or Telltale. The classes in `benchmarks/contenders/` start these programs.
"""
