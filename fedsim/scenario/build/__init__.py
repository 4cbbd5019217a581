"""From a file's settings to federations in numbers, or to the list of what is wrong."""
