"""Signatures, chains, groups and chords as live objects over protocol/rules."""
