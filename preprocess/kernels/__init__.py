"""The loops that a conversion spends its time in, compiled where a compiler was found."""
