"""Where a decoded chunk may be: inside the training range, setting off where chunks did."""
