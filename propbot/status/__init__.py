"""What operators see: the board of components, and the desk through which the API looks and acts."""
