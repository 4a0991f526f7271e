"""Where each source of weights keeps our layers: a table for every source and family."""
