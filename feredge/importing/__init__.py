"""Import of networks from Keras files and exported files. A file is audited before it is loaded; no code in it runs."""
