"""How often a policy solves its tasks when it acts, looks again and acts on."""
