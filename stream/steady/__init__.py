"""Steady colour: carried along the motion, averaged, forgotten where something new is seen."""
