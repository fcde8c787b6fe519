"""`python -m preprocess` is the command `resizeonce`."""

from preprocess.cli import main

if __name__ == "__main__":
    main(prog_name="resizeonce")
