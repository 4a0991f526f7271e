"""Weights in and out: torchvision, timm, Deep Compression, and our own files."""
