"""The site that Telltale serves in the benchmark: the least that one can be, with Redis as its broker."""
