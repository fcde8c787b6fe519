"""Write every training tensor once, from the original pixels; then only read.

The packages lie at the top of the repository: `preprocess/`, `loader/`, `configs/`. Installed, they are in here; in a
checkout, mypy and editors find them by the links beside this file.
"""

__version__ = "0.1.0"
