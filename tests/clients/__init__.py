"""The clients of the API: clients/python here, clients/typescript in a suite of its own."""
