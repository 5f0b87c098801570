"""What the peers' processes run, with the Python of `.venv-bench`: the least that does it, as their guides show.

Nothing here imports the rig or Telltale; `benchmarks/contenders/` says how each is started and fed.
"""
