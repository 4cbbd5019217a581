"""``fedsim train``: a case of a scenario, real rounds, learning curves that can be kept."""
