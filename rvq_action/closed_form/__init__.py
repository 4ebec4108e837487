"""What `analytic.py` is made of: transform, allocation, codebooks; no gradient step."""
