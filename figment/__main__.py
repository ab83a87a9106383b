"""`python -m figment`, which is also what torchrun starts."""

from figment.cli import main

main()
