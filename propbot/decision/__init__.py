"""From edges and open lots to what should be done next. Pure."""
