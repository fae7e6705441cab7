"""Commands with a module of their own, imported when they are called."""
