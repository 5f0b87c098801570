"""How many followers a site can have: a simulation of the live server, calibrated by measurements.

`simulation` is the event loop; `broker`, `hub`, `admission` and `clients` are the parts of a site, with the live
server's own `constants`; `scenarios` run them. `calibrate` measures the `costs` of the parts through the rig, `check`
compares predictions with a run that is not part of the calibration, `sizing` and `page` make the tables of
docs/capacity.md from the stored `calibration`.
"""
