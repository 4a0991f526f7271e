"""The speed of a network on this machine, beside PyTorch's; and checks of the machine."""
