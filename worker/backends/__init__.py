"""Result stores by the scheme of their URL.

A row is the module that serves it; nothing is imported before it is asked for.
Law of this folder: a store knows protocol/ and its own library, and nothing of the worker around it.
"""
