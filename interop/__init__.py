"""The proof by the real peers: every client and worker of the family, in every direction, on every broker."""
