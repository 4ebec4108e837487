"""Few tokens within a bound on the error."""
