"""Order books: the venue's own sequence rules decide whether one may be trusted."""
