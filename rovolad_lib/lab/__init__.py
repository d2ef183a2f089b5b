"""What a notebook needs around an experiment: parameters, records, plots, players."""
