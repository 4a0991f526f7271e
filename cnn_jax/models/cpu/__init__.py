"""What only a CPU needs: the same arithmetic in the form that XLA:CPU runs fast."""
