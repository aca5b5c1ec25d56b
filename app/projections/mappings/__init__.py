"""The mapping of each CRM, as a file, and what such a file may say."""
