"""Fuzzing of the ticket and checkpoint readers: damaged files in, typed errors out."""
