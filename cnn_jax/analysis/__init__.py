"""Our results beside the papers', and what networks cost."""
