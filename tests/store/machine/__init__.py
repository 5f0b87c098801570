"""A Hypothesis state machine over the real store, with a small model that says what the store must answer."""
