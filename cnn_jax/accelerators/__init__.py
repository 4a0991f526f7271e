"""GPUs and TPUs: what one that is not here can do, and campaigns that measure one that is."""
