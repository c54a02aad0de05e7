"""The command line: each command a few lines over the library, errors as one line, exit codes that scripts can use.

Nothing heavy is imported before a command runs: ``audiocodec --help`` needs neither torch nor numpy.
"""

from audiocodec.cli.main import main

__all__ = ["main"]
