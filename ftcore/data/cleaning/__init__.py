"""Cleaning text before it is learnt from: one file per concern, each a function over plain lists or arrays.

Nothing here knows of steps, runs or the store; ``steps/prepare.py`` puts the concerns together.
"""
