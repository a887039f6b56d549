"""Still pictures: a film of one frame, with all else that its file holds."""
