"""What `import celeriac` gives: an explicit list of names, each loaded when it is first asked for.

Law: importing this package loads nothing but this file, so that `import celeriac.protocol` stays pure.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
