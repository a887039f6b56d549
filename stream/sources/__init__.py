"""Where frames come from: films, stills, cameras, networks."""
