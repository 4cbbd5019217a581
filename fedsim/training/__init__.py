"""``fedsim train``: a TOML file, real rounds of one framework, learning curves that can be kept."""
