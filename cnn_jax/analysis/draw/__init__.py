"""Drawings of networks, made from the program that a module is traced to."""
