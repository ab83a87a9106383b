"""What every stage shares: errors, files, pixels, the catalog, seeds, runs, ranks and progress."""
