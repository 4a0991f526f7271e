"""What `launch.py` does: a module for each command, `add_arguments(add)` and `run(arguments)`.

The first line of a module says what its command does; `python launch.py COMMAND --help` shows it.
"""
