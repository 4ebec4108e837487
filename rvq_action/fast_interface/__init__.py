"""What `processing.py` needs to stand where FAST's processor stands."""
