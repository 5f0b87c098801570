"""For tests: the contract suites that every runner and every broker passes, ours and yours."""
