"""What can be said of networks and of runs."""
