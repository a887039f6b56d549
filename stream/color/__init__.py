"""Where frames become colour: L out of them, ab onto them, in order and in time."""
