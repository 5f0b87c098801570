"""The Django site that Telltale serves in the benchmark: minimal, with Redis as its broker."""
