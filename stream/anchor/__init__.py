"""Colours that are known, and how they are carried through a film."""
