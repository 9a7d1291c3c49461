"""The server: many users behind one API that learns while it answers."""
