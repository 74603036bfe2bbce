"""The parts of a robustness study: what is tested, on which data, how long, and where results are kept."""
