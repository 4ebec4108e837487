"""Folders, locks, files, processes and errors of every command, whatever it does."""
