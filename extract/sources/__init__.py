"""Where images come from: `schemes` says what there is, and each has a module of its own."""
