"""What a network costs on this machine, beside the same one in PyTorch; and is the machine fit?"""
