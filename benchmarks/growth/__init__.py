"""What grows with what: the cost of an operation at several sizes, and the exponent that follows."""
