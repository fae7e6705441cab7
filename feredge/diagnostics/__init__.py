"""Checks of the installation and the machine. Imports only the standard library: what it checks may be broken."""
