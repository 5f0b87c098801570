"""How many followers a site can have: a simulation of the live server, and what it is calibrated by.

`clock` is the machinery; `broker`, `hub`, `door`, `crowd` the parts of a site, with the live server's own
constants (`rules`); `scenarios` what is done to them. `calibrate` measures what the parts cost through the rig of
benchmarks/, `check` compares a prediction with a run that was not used for it, `sizing` and `page` make the tables of
docs/capacity.md.
"""
