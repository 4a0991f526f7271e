"""What only a CPU needs: the same arithmetic in the form that XLA:CPU runs fast.

`models.layers` takes it by `xla.by_platform`, so the devices that run a program decide.
"""
