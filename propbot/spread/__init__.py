"""From two books, fees and a reference to the executable edge of a pair. Pure."""
