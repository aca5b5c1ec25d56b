"""Erases a person, an extension or a call: everywhere, resumable, and with a receipt that names nobody."""
