"""Live sinks: served, pushed, shown in a window, given to a virtual camera, or all at once."""
