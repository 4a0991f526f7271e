"""GPUs and TPUs that need not be here: what they can do, programs compiled for them, plans."""
