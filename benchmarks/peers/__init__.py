"""What the peers' processes run, with the Python of `.venv-bench`: the least that does the job, as their guides show it.

Nothing here imports the rig or Telltale; `benchmarks/contenders/` says how each is started and fed.
"""
