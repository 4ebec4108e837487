"""Many small runs that differ in one thing each, and a row of JSON for every one of them."""
