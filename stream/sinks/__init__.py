"""Where frames go: files, pipes, servers, windows."""
