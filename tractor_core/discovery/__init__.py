"""Finding actors by name: the Registrar, the link every actor keeps to one, and the look-ups."""
