"""The commands: a module for each, with `add_arguments(add)` and `run(arguments, console)`.

The first line of a module says what its command does; `python launch.py COMMAND --help` shows it.
"""
