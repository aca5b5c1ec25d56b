"""The live dashboard for operators."""
